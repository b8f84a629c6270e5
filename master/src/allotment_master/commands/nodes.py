# SPDX-License-Identifier: Apache-2.0
"""``allot master nodes``: what nodes there are."""

from pathlib import Path

import click

from allotment.terminal import ago, table
from allotment_master.cli import connect, json_option, master_options, show


@click.command("nodes")
@master_options
@json_option
def command(master: str | None, token_file: Path | None, as_json: bool) -> None:
    """List the nodes."""
    with connect(master, token_file) as client:
        found = client.nodes()
    if as_json:
        show(found)
        return
    rows = [("NODE", "SEEN", "FREE", "PARTITIONS", "PLATFORM", "LABELS")]
    for node in found:
        labels = " ".join(f"{key}={value}" for key, value in node.labels.items())
        rows.append((node.name, ago(node.seen), str(node.free), str(node.partitions), node.platform, labels))
    table(rows, "No node is registered. 'allot node register' makes one known.")
