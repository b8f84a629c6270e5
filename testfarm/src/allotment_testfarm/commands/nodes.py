# SPDX-License-Identifier: Apache-2.0
"""``allot farm nodes``: the test nodes of a farm."""

import json
import time
from pathlib import Path
from typing import Any

import click

from allotment.terminal import NONE, ago, table
from allotment_testfarm.commands.farm_options import connect, farm_options


@click.command("nodes")
@farm_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(url: str | None, folder: Path | None, as_json: bool) -> None:
    """List the test nodes: whether each is connected, how busy it is, and why it takes no job."""
    with connect(url, folder) as farm:
        nodes = farm.get("nodes")["items"]
    if as_json:
        click.echo(json.dumps({"format": 1, "url": farm.url, "items": nodes}, indent=2))
        return
    head = ("TEST NODE", "PLATFORM", "HEARD", "JOBS", "LOAD", "MEMORY FREE", "DISK FREE", "STATE")
    rows: list[tuple[str, ...]] = [head]
    rows += [_row(node, time.time()) for node in nodes]
    table(rows, "No test node has said hello. 'allot farm node' starts one.")


def _row(node: dict[str, Any], now: float) -> tuple[str, ...]:
    from allotment_testfarm.web.look import size

    jobs = f"{len(node['current'])} of {node['slots']}"
    load = NONE if node["load"] is None else f"{node['load']:.1f}"
    figures = jobs, load, size(node["memory_free"]), size(node["disk_free"])
    state = (node["refuses"] or "takes jobs") if node["is_connected"] else "silent"
    return node["name"], node["platform"], ago(node["last_seen"], now), *figures, state
