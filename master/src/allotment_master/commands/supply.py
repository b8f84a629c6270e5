# SPDX-License-Identifier: Apache-2.0
"""``allot supply``: offer a release on a node."""

from pathlib import Path

import click

from allotment.messages.desired_state import SupplyState
from allotment_master.cli import connect, json_option, master_options, show


@click.command("supply")
@click.argument("release")
@click.argument("node")
@click.option("--remove", is_flag=True, help="Take it away instead.")
@click.option("--development", is_flag=True, help="Accept a manifest that nobody signed, where the node allows it.")
@master_options
@json_option
def command(
    release: str, node: str, remove: bool, development: bool, master: str | None, token_file: Path | None, as_json: bool
) -> None:
    """Offer RELEASE, a name or a manifest's sha256, on NODE."""
    state = SupplyState.REMOVED if remove else SupplyState.AVAILABLE
    with connect(master, token_file) as client:
        info = client.supply(node, release, state, development)
    if as_json:
        show(info)
        return
    word = "is no longer supplied to" if remove else "is supplied to"
    click.echo(f"{info.release} {info.manifest[:10]} {word} {info.node}")
