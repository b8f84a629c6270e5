# SPDX-License-Identifier: Apache-2.0
"""``allot farm prune``: remove what no rule keeps now, or show what that would be."""

import json
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from allotment.terminal import table
from allotment_testfarm.commands.database_options import database_options, farm_database
from allotment_testfarm.commands.retention_options import retention_options, rules_of

if TYPE_CHECKING:
    from allotment_testfarm.engine.retention import Removed


@click.command("prune")
@database_options
@click.option("--dry-run", is_flag=True, help="Remove nothing, show what would go.")
@retention_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(folder: Path, database: str, dry_run: bool, as_json: bool, **keep: float) -> None:
    """Remove logs, events, blobs and archives that no rule keeps, as a farm that runs does each hour by itself.

    Give the --keep options that the farm has. It is safe beside a farm that runs.
    """
    from allotment_testfarm.engine.logs import LogSink
    from allotment_testfarm.engine.retention import Sweep

    with farm_database(folder, database) as farm:
        sweep = Sweep(farm, folder, LogSink(folder), rules_of(keep), is_dry=dry_run)
        removed = [item for step in sweep.steps(time.time()) for item in step]
    if as_json:
        click.echo(json.dumps(_document(removed, dry_run), indent=2))
    else:
        _show(removed, "would go" if dry_run else "removed")


def _document(removed: "list[Removed]", is_dry: bool) -> dict[str, object]:
    items = [{"kind": item.kind, "name": item.name, "bytes": item.size, "count": item.count} for item in removed]
    return {"format": 1, "dry_run": is_dry, "bytes": sum(item.size for item in removed), "items": items}


def _show(removed: "list[Removed]", word: str) -> None:
    """Print a line for each thing, and how much it is in all."""
    rows = [("KIND", "BYTES", "WHAT")]
    counts: Counter[str] = Counter()
    for item in removed:
        rows.append((item.kind, str(item.size) if item.size else "", item.name))
        counts[item.kind] += item.count
    table(rows, "Nothing goes: a rule keeps all there is.")
    if removed:
        said = ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in counts.items())
        click.echo(f"{word}: {said}; {sum(item.size for item in removed)} bytes")
