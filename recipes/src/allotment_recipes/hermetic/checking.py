# SPDX-License-Identifier: Apache-2.0
"""``allot build --check``: parts are built again, and it is told what is not the same."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from allotment_recipes.engine import BuildEngine, BuildRequest
from allotment_recipes.manifest import TIMEOUT, BuiltRelease

_SHOWN = 10  # differences of one part


def check(
    built: BuiltRelease,
    folder: Path,
    sources: Path,
    engine: BuildEngine,
    parts: Sequence[str],
    log: Path,
    *,
    store: Path,
    stores: Sequence[Path] = (),
) -> Sequence[Mapping[str, Any]]:
    """Build ``parts`` of the release that was built into ``folder`` again, by default all; return how they differ."""
    folder = folder.resolve()
    request = BuildRequest(
        folder / "closure", built.manifest.profile, folder, sources.resolve(), TIMEOUT, store=store.resolve(),
        stores=tuple(str(lower.resolve()) for lower in stores),
    )  # fmt: skip
    return engine.check(request, parts, log)


def tell(found: Sequence[Mapping[str, Any]], *, as_json: bool) -> bool:
    """Print how parts differ; return whether all are the same."""
    is_same = not any(item["differences"] for item in found)
    if as_json:
        click.echo(json.dumps({"is_same": is_same, "parts": list(found)}, sort_keys=True))
        return is_same
    for item in found:
        differences = item["differences"]
        click.echo(f"{item['part']}: {_count(len(differences))}")
        for difference in differences[:_SHOWN]:
            click.echo(f"  {difference['path']} {difference['what']}")
            for line in difference["details"]:
                click.echo(f"    {line}")
        if len(differences) > _SHOWN:
            click.echo(f"  and {len(differences) - _SHOWN} more")
    return is_same


def _count(number: int) -> str:
    return "the same" if number == 0 else f"{number} {'difference' if number == 1 else 'differences'}"
