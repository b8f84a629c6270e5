# SPDX-License-Identifier: Apache-2.0
"""``allot promise silence``: take the alarm from promises whose failure is known, for a while and with a reason."""

import json
import time
from pathlib import Path

import click

from allotment.codec import encode
from allotment.errors import AllotmentError
from allotment.messages.silences import Silence
from allotment.terminal import ago, duration, table
from allotment_node.commands.options import folder_option
from allotment_node.folder import NodeFolder
from allotment_node.silences import Silences
from allotment_node.survey import Survey

_HOUR = 3600.0  # seconds


@click.command("silence")
@folder_option
@click.argument("promise", required=False)
@click.option("--reason", help="Why; everybody sees it beside the promise.")
@click.option("--hours", type=click.FloatRange(min=0, min_open=True), default=24.0, show_default=True, help="How long.")
@click.option("--author", default="", help="Who silences; default: the user who runs this.")
@click.option("--end", "ending", metavar="ID", help="End a silence, by its id or its PROMISE.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    folder: Path, promise: str | None, reason: str | None, hours: float, author: str, ending: str | None, as_json: bool
) -> None:
    """Silence a PROMISE, end a silence, or list the silences that hold.

    A PROMISE is a name, partition/name or instance/name, with * and ?. It is run and recorded as before, but while it
    is silenced it makes no instance red and has none processed again.
    """
    node = NodeFolder(folder)
    silences = Silences(node.silences)
    if promise is not None and ending is not None:
        raise AllotmentError("a promise and --end are given", "Give one of them")
    if promise is not None:
        if not reason:
            raise AllotmentError("no reason is given", "Say why: --reason TEXT")
        until = time.time() + hours * _HOUR
        _show([silences.add(pattern, reason, until, author) for pattern in _patterns(Survey(node), promise)], as_json)
    elif ending is not None:
        _show(silences.end(ending), as_json)
    else:
        node.load_config()  # a folder that is no node's is an error, not an empty list
        _show(silences.active(), as_json)


def _patterns(survey: Survey, promise: str) -> list[str]:
    """Return what to silence; an instance's name becomes its partition's, since only one of its day has that name."""
    found = survey.promises([promise])
    place, slash, name = promise.rpartition("/")
    partitions = sorted({item.partition for item in found})
    if not slash or any(character in place for character in "*?[") or place in partitions:
        return [promise]
    return [f"{partition}/{name}" for partition in partitions]


def _show(silences: list[Silence], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"silences": encode(silences)}))
        return
    now = time.time()
    rows: list[tuple[str, ...]] = [("ID", "PROMISE", "BY", "SINCE", "FOR", "REASON")]
    rows += [
        (item.id, item.promise, item.author, ago(item.start, now), _left(item.until - now), item.reason)
        for item in silences
    ]
    table(rows, "No promise is silenced.")


def _left(seconds: float) -> str:
    return duration(seconds) if seconds > 0 else "ended"
