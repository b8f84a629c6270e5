# SPDX-License-Identifier: Apache-2.0
"""``allot store du``: what takes how much disk."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from allotment.terminal import table
from allotment_recipes.commands.store_options import json_option, root_of, size_text, store_option, system_store_option
from allotment_recipes.stores import lower_roots
from allotment_recipes.stores.collect import check_store
from allotment_recipes.stores.usage import usage


@click.command("du")
@store_option
@system_store_option("A store below it, to be counted too.")
@json_option
def command(folder: Path, systems: tuple[Path, ...], as_json: bool) -> None:
    """Show what each part takes on disk, and what each release takes alone and shares with others.

    What a release takes alone would be freed with it; what several releases need counts once in the total.
    """
    own = root_of(folder)
    check_store(own)
    found = usage((own, *lower_roots(systems, own)))
    if as_json:
        document = {**asdict(found), "bytes": found.bytes, "unneeded": found.unneeded}
        click.echo(json.dumps(document, sort_keys=True))
        return
    parts = [(part.name, size_text(part.bytes), str(part.releases or "none")) for part in found.parts]
    table([("part", "on disk", "releases"), *parts], "The store holds no part.")
    if found.releases:
        click.echo()
        rows = [
            (item.folder, str(item.parts), size_text(item.unique), size_text(item.shared)) for item in found.releases
        ]
        table([("release", "parts", "alone", "shared"), *rows], "")
    click.echo()
    click.echo(
        f"{size_text(found.bytes)} in {len(found.parts)} parts and {size_text(found.other)} of logs and leftovers; "
        f"no release needs {size_text(found.unneeded)}"
    )
