# SPDX-License-Identifier: Apache-2.0
"""``allot promise list``: the promises of a node, as its agent judged them."""

import json
from pathlib import Path
from typing import Any

import click

from allotment.codec import encode
from allotment.terminal import ago, table
from allotment_node.commands.options import folder_option, tell_without_agent
from allotment_node.folder import NodeFolder
from allotment_node.survey import Listed, Survey, broken


@click.command("list")
@folder_option
@click.argument("patterns", metavar="[PROMISE]...", nargs=-1)
@click.option("--broken", "only_broken", is_flag=True, help="Only those that are broken.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(folder: Path, patterns: tuple[str, ...], only_broken: bool, as_json: bool) -> None:
    """List the promises of started partitions; a PROMISE is a name, partition/name or instance/name, with * and ?."""
    node = NodeFolder(folder)
    listed = Survey(node).promises(patterns)
    listed = broken(listed) if only_broken else listed
    if as_json:
        click.echo(json.dumps({"promises": [describe(item) for item in listed]}))
        return
    tell_without_agent(node)
    rows: list[tuple[str, ...]] = [("PROMISE", "TYPE", "EVERY", "STATUS", "SINCE", "MESSAGE")]
    rows += [_row(item) for item in listed]
    table(rows, "No promise is broken." if only_broken else "No started partition has a promise.")


def describe(item: Listed) -> dict[str, Any]:
    """Return what is known of a promise as JSON data."""
    promise = item.promise
    return {
        "partition": item.partition,
        "instance": item.document.instance,
        "name": item.name,
        "type": promise.file.type if promise is not None else "service",
        "period": _period(item),
        "status": item.status,
        "since": item.since,
        "message": message(item),
        "silence": encode(item.silence),
    }


def status(item: Listed) -> str:
    """Return how a promise was judged last, for people."""
    return f"{item.status}, silenced" if item.silence is not None else item.status


def message(item: Listed) -> str:
    """Return what is said of a promise: how it was judged last, or why it can't be run."""
    if item.promise is not None and item.promise.problem:
        return item.promise.problem
    return item.observed.message if item.observed is not None else ""


def _period(item: Listed) -> float | None:
    """Return the seconds between two runs; none of a service."""
    from allotment.plugins import plugins
    from allotment_promises.registry import period_of

    return period_of(item.promise, plugins()) if item.promise is not None else None


def _row(item: Listed) -> tuple[str, ...]:
    promise = item.promise
    seconds = _period(item)
    kind, period = promise.file.type if promise is not None else "service", f"{seconds:g} s" if seconds else ""
    first = message(item).partition("\n")[0]
    return item.full_name, kind, period, status(item), ago(item.since) if item.since else "", first
