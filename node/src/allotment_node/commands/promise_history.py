# SPDX-License-Identifier: Apache-2.0
"""``allot promise history``: what a promise measured before: uptime, streaks, flapping, curves of its metrics."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from allotment.codec import encode
from allotment.errors import AllotmentError, nearest
from allotment.terminal import duration, plain, table, when
from allotment_node.commands.options import folder_option
from allotment_node.folder import NodeFolder
from allotment_node.survey import Survey

if TYPE_CHECKING:
    from allotment_promises.history import History

_DAY = 86400.0  # seconds
_POINTS = 48  # of a curve, in a terminal


@click.command("history")
@folder_option
@click.argument("promise")
@click.option("--days", type=click.FloatRange(0.001, 366), default=7.0, show_default=True, help="How far back to look.")
@click.option("--metric", help="Show the curve of this metric too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(folder: Path, promise: str, days: float, metric: str | None, as_json: bool) -> None:
    """Show the past of one PROMISE: a name, partition/name or instance/name."""
    from allotment_promises.history.reader import read

    found = Survey(NodeFolder(folder)).one(promise)
    until = time.time()
    name, since = found.name, until - days * _DAY
    told = read(found.path, lambda history: gather(history, name, since, until, metric))
    if metric and metric not in told["metrics"]:
        raise AllotmentError(f"{promise} has no metric '{metric}'", nearest(metric, tuple(told["metrics"])))
    if as_json:
        click.echo(json.dumps({"partition": found.partition, "promise": name, **told}))
    else:
        _show(found.full_name, told, days)


def gather(history: "History", name: str, since: float, until: float, metric: str | None) -> dict[str, Any]:
    """Return all that is asked of a history as JSON data; times are UTC epochs in seconds."""
    from allotment_promises.history import queries

    up = queries.uptime(history, name, since, until)
    return {
        "since": since,
        "until": until,
        "uptime": {"ratio": up.ratio, **{key: encode(up)[key] for key in ("passed", "failed", "error")}},
        "flapping": encode(queries.flapping(history, name)),
        "broken_since": encode(queries.broken_since(history, name)),
        "streaks": [encode(item) for item in history.streaks(name, since)],
        "metrics": history.metrics(name),
        "points": [encode(item) for item in queries.curve(history, name, metric, since, until)] if metric else [],
    }


def _show(name: str, told: dict[str, Any], days: float) -> None:
    up, flapping = told["uptime"], told["flapping"]
    known = up["passed"] + up["failed"]
    if known:
        click.echo(f"{name} was kept {up['ratio']:.2%} of the time known, {duration(known)} of the last {days:g} days")
    else:
        click.echo(f"nothing is known of {name} in the last {days:g} days")
    if flapping["is_flapping"]:
        click.echo(f"it flaps: {flapping['changes']} changes among the newest results")
    rows: list[tuple[str, ...]] = [("FROM (UTC)", "STATE", "FOR", "FIRST MESSAGE")]
    for item in reversed(told["streaks"]):
        first = item["message"].partition("\n")[0]
        rows.append((when(item["start"]), item["state"], duration(item["until"] - item["start"]), first))
    table(rows, "No measurement.")
    if told["metrics"]:
        names = ", ".join(f"{key} ({unit or 'number'})" for key, unit in told["metrics"].items())
        click.echo(f"metrics: {plain(names)}")
    if told["points"]:
        _show_curve(told["points"])


def _show_curve(points: Sequence[dict[str, Any]]) -> None:
    step = -(-len(points) // _POINTS)
    rows: list[tuple[str, ...]] = [("TIME (UTC)", "LEAST", "MEAN", "MOST")]
    for at in range(0, len(points), step):
        part = points[at : at + step]
        count = sum(item["count"] for item in part)
        mean = sum(item["mean"] * item["count"] for item in part) / count
        low, high = min(item["low"] for item in part), max(item["high"] for item in part)
        rows.append((when(part[0]["time"]), f"{low:g}", f"{mean:g}", f"{high:g}"))
    table(rows, "")
