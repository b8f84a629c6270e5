# SPDX-License-Identifier: Apache-2.0
"""``allot why``: what changed when a part was built the last time, or would be built now, and what needs it."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError, nearest
from allotment_recipes.commands.build_options import build_options, caches_of, profile_of, tree_root
from allotment_recipes.explain.differences import Difference
from allotment_recipes.explain.history import History, read_history
from allotment_recipes.explain.report import LinesOf, detail_lines, listed, short


@click.command("why")
@click.argument("part")
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--folder", type=click.Path(path_type=Path), help="Of the built release. [default: var/build/<name>]")
@build_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    part: str,
    path: Path | None,
    folder: Path | None,
    root: Path | None,
    sources: Path | None,
    store: Path | None,
    systems: tuple[Path, ...],
    urls: tuple[str, ...],
    as_json: bool,
) -> None:
    """Tell which input of PART changed when it was built the last time, where it is and what refers to it.

    With PATH, a software.cfg or its folder, also what changed since that build: what the next one will do with it.
    """
    if path is None and folder is None:
        raise click.UsageError("PATH is missing: give a software.cfg or its folder, or --folder of a built release")
    if path is None and (store or systems or urls):
        raise click.UsageError("--store, --system-store and --cache tell what the next build does: give PATH too")
    profile = None if path is None else profile_of(path)
    folder = (folder or Path("var", "build", profile.parent.name if profile else "")).absolute()
    blobs = BlobStore((sources or Path("var", "sources")).absolute())
    store = (store or Path("var", "store")).absolute()
    history = None
    try:
        history = read_history(folder, part)
    except AllotmentError:
        if profile is None:
            raise
    document: dict[str, Any] = {"part": part}
    lines: list[str] = []
    if history is not None:
        document |= _described(history, _lines_of(history, blobs))
        lines += _lines(history, _lines_of(history, blobs))
    if profile is not None:
        places = (profile, root or tree_root(profile), folder, blobs.folder)
        now, text = _now(part, places, store=store, stores=systems, caches=caches_of(urls))
        document["now"] = now
        lines += text
    click.echo(json.dumps(document, sort_keys=True) if as_json else "\n".join(lines))


def _now(part: str, places: tuple[Path, Path, Path, Path], **stores: Any) -> tuple[dict[str, Any], list[str]]:
    """Return what a build would do with a part now; it is planned as ``allot build --plan`` does."""
    from allotment_recipes.engine import BuildEngine
    from allotment_recipes.explain.plan import described
    from allotment_recipes.explain.planning import planned

    with BuildEngine() as engine, planned(*places, engine, **stores) as found:
        for line in found.told:
            click.echo(line, err=True)
        parts = {item.name: item for item in found.plan.parts}
        if part not in parts:
            raise AllotmentError(f"{places[0]} has no part '{part}'", nearest(part, tuple(parts)))
        item, lines_of = parts[part], found.lines_of(part)
        document = {
            "action": item.action,
            "why": [described(reason, lines_of) for reason in item.why],
            "roots": {name: [str(reason) for reason in parts[name].own] for name in item.roots},
        }
        lines = [f"now: it would be {item.action}" + (f": {short(item.why)}" if item.why else "")]
        lines += detail_lines(item.why, lines_of)
        for name in item.roots:
            if name != part:
                lines += [f"  {name}: {short(parts[name].own)}"]
                lines += (f"  {line}" for line in detail_lines(parts[name].own, found.lines_of(name)))
        return document, lines


def _lines_of(history: History, blobs: BlobStore) -> LinesOf:
    from allotment_recipes.explain.planning import lines_between

    after = history.entry["closure"]
    if after not in blobs:
        return lambda item: item.details
    return lines_between(blobs, history.entry["before"], blobs.path(after))


def _described(history: History, lines_of: LinesOf) -> dict[str, Any]:
    from allotment_recipes.explain.plan import described

    entry = history.entry
    return {
        **{key: entry[key] for key in ("hash", "recipe", "version", "location", "at", "built")},
        "is_there": history.is_there,
        "why": [described(item, lines_of) for item in history.why],
        "refers_to": list(history.references),
        "is_referred_to_by": list(history.users),
        **{key: history.note[key] for key in ("seconds", "bytes") if key in history.note},
    }


def _lines(history: History, lines_of: LinesOf) -> Iterator[str]:
    entry, note = history.entry, history.note
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry["at"]))
    took = f", in {note['seconds']:.1f} s" if "seconds" in note else ""
    state = "these inputs since" if entry["built"] else "not built; these inputs since"
    yield f"{history.part} {entry['version']}".rstrip() + f": {state} {when}{took}"
    if entry["location"]:
        yield f"  {entry['location']}" + ("" if history.is_there else " (which is not there)")
    yield from _reasons(history.why, lines_of)
    if history.users:
        yield f"  is referred to by {listed(history.users)}"
    if history.references:
        yield f"  refers to {listed(history.references)}"


def _reasons(why: tuple[Difference, ...], lines_of: LinesOf) -> Iterator[str]:
    if not why:
        yield "  no other inputs of it are recorded"
        return
    yield f"  built anew then: {short(why)}"
    yield from (f"  {line}" for line in detail_lines(why, lines_of))
