# SPDX-License-Identifier: Apache-2.0
"""``allot store why``: what keeps a part."""

import json
from pathlib import Path

import click

from allotment.errors import AllotmentError, nearest
from allotment_recipes.commands.store_options import json_option, root_of, say, store_option, system_store_option
from allotment_recipes.stores import lower_roots, roots
from allotment_recipes.stores.collect import check_store
from allotment_recipes.stores.keeping import Graph, Kept
from allotment_recipes.stores.notes import is_unregistered, read_note
from allotment_recipes.stores.roots import Root


@click.command("why")
@click.argument("part")
@store_option
@system_store_option("A store below it, which may hold the part, or parts between.")
@json_option
def command(part: str, folder: Path, systems: tuple[Path, ...], as_json: bool) -> None:
    """List what keeps PART, a part's name such as zlib or the name or path of its folder, and by which references."""
    own = root_of(folder)
    stores = (own, *lower_roots(systems, own))
    check_store(own)
    graph = Graph(stores, say)
    keepers = [(root, keeper) for root in stores for keeper in (*roots.releases(root), *roots.processes(root))]
    found = {path: _once(graph, path, keepers) for path in _matches(graph, part)}
    if as_json:
        click.echo(json.dumps({"parts": [_described(path, kept) for path, kept in found.items()]}))
        return
    for path, kept in found.items():
        click.echo(path.name if path.parent == own else str(path))
        for reason in kept:
            click.echo(f"  {reason.root.kind} {reason.root.name}".replace("process process", "process"))
            if len(reason.chain) > 1:
                click.echo(f"    {' -> '.join(step.name for step in reason.chain)}")
        if not kept:
            click.echo(f"  {_unkept(path)}")


def _unkept(part: Path) -> str:
    if is_unregistered(part.parent, part.name):
        return "it was built before releases were registered: only 'allot store gc --unregistered' removes it"
    return "nothing keeps it: 'allot store gc' removes it"


def _once(graph: Graph, part: Path, keepers: list[tuple[Path, Root]]) -> list[Kept]:
    """Return the reasons to keep a part; a release that several stores know is one."""
    found: dict[tuple[str, str], Kept] = {}
    for kept in graph.reasons(part, keepers):
        before = found.get((kept.root.kind, kept.root.name))
        if before is None or len(kept.chain) < len(before.chain):
            found[kept.root.kind, kept.root.name] = kept
    return list(found.values())


def _matches(graph: Graph, text: str) -> list[Path]:
    parts = [path for root in graph.roots for path in graph.parts(root)]
    name = text.rstrip("/")
    named = Path(name).resolve()
    found = [path for path in parts if name in (path.name, _section(path)) or named == path.resolve()]
    if not found:
        known = sorted({_section(path) for path in parts})
        raise AllotmentError(f"no part '{text}' is in the store", nearest(name, known) if known else "It holds no part")
    return found


def _section(path: Path) -> str:
    """Return the name of the section that a part was built from."""
    return (read_note(path.parent, path.name) or {}).get("part") or path.name.rsplit("-", 2)[0]


def _described(path: Path, kept: list[Kept]) -> dict[str, object]:
    reasons = [
        {"kind": reason.root.kind, "name": reason.root.name, "chain": [str(step) for step in reason.chain]}
        for reason in kept
    ]
    return {"part": str(path), "is_kept": bool(kept), "roots": reasons}
