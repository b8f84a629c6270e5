# SPDX-License-Identifier: Apache-2.0
"""``allot store gc``: remove the parts that nothing needs."""

import json
from pathlib import Path

import click

from allotment.terminal import table
from allotment_recipes.commands.store_options import json_option, root_of, say, size_text, store_option
from allotment_recipes.stores.collect import Collected, collect

_DAY = 86400.0  # seconds


@click.command("gc")
@store_option
@click.option(
    "--older-than",
    "days",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="DAYS",
    help="Keep also what a build has made or asked for in the last DAYS.",
)
@click.option(
    "--unregistered", is_flag=True, help="Remove also what was built before releases were registered in the store."
)
@click.option("--dry-run", is_flag=True, help="Only tell what would be removed.")
@json_option
def command(folder: Path, days: float, unregistered: bool, dry_run: bool, as_json: bool) -> None:
    """Remove the parts that no release, running program or other part needs, and what failed builds have left.

    A release needs its parts as long as its folder is there.
    """
    root = root_of(folder)
    found = collect(root, older_than=days * _DAY, unregistered=unregistered, dry_run=dry_run, say=say)
    if as_json:
        parts = [{"name": name, "bytes": size} for name, size in found.parts]
        numbers = {"kept": found.kept, "freed": found.freed, "leftovers": found.leftovers}
        more = {"busy": found.busy, "unregistered": found.unknown}
        click.echo(json.dumps({"store": str(root), "dry_run": dry_run, "parts": parts, **more, **numbers}))
        return
    if found.parts:
        table([("part", "on disk"), *((name, size_text(size)) for name, size in found.parts)], "")
    click.echo(_summary(found, dry_run))
    if found.unknown:
        click.echo(
            f"{len(found.unknown)} of those kept were built before releases were registered, and no registered one "
            "needs them. Build once more what is still needed; then --unregistered removes the rest"
        )


def _summary(found: Collected, dry_run: bool) -> str:
    verb = "would be removed" if dry_run else "removed"
    parts = f"{len(found.parts)} part{'' if len(found.parts) == 1 else 's'}"
    line = f"{parts} {verb}, {found.kept} kept; {size_text(found.freed)} "
    line += "would be freed" if dry_run else "freed"
    if found.leftovers:
        line += f", of which {size_text(found.leftovers)} are of builds that failed or only checked"
    if found.busy:
        line += f"; {len(found.busy)} are being built"
    return line
