# SPDX-License-Identifier: Apache-2.0
"""``allot store verify``: whether parts are as they were built."""

import json
import sys
from pathlib import Path

import click

from allotment_recipes.commands.store_options import json_option, root_of, say, store_option
from allotment_recipes.stores.collect import check_store
from allotment_recipes.stores.verify import repair, verify

_SHOWN = 20  # problems of one part


@click.command("verify")
@store_option
@click.option("--repair", "repairs", is_flag=True, help="Remove damaged parts: the next build makes them anew.")
@json_option
def command(folder: Path, repairs: bool, as_json: bool) -> None:
    """Read all parts and compare each file with what was recorded when it was built; exit with 1 on damage."""
    root = root_of(folder)
    check_store(root)
    found = list(verify(root, say))
    damaged = [item for item in found if item.problems]
    unknown = [item.name for item in found if not item.is_recorded]
    removed = repair(root, [item.name for item in damaged]) if repairs and damaged else []
    if as_json:
        document = {
            "store": str(root),
            "parts": len(found),
            "damaged": {item.name: list(item.problems) for item in damaged},
            "unrecorded": unknown,
            "removed": removed,
        }
        click.echo(json.dumps(document, sort_keys=True))
    else:
        for item in damaged:
            click.echo(f"{item.name} is damaged{': removed' if item.name in removed else ''}")
            for problem in item.problems[:_SHOWN]:
                click.echo(f"  {problem}")
            if len(item.problems) > _SHOWN:
                click.echo(f"  and {len(item.problems) - _SHOWN} more")
        for name in unknown:
            click.echo(f"{name} was built before files were recorded: not verified")
        click.echo(f"{len(found) - len(unknown)} parts verified, {len(damaged)} damaged, {len(removed)} removed")
    if len(removed) < len(damaged):
        sys.exit(1)
