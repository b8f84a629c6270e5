# SPDX-License-Identifier: Apache-2.0
"""``allot promise watch``: promises as they change their minds, in a terminal or as lines of JSON."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from allotment.terminal import ago, plain
from allotment_node.commands.options import folder_option
from allotment_node.commands.promise_list import describe, message, status
from allotment_node.folder import NodeFolder
from allotment_node.survey import Listed, Survey, broken

if TYPE_CHECKING:
    from rich.table import Table

_COLOURS = {"passed": "green", "failed": "red", "error": "red", "unknown": "dim"}


@click.command("watch")
@folder_option
@click.argument("patterns", metavar="[PROMISE]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each promise, and for each change.")
def command(folder: Path, patterns: tuple[str, ...], as_json: bool) -> None:
    """Show promises until Ctrl-C, the broken ones first.

    A PROMISE is a name, partition/name or instance/name, with * and ?; without one all are shown.
    """
    place = NodeFolder(folder)
    looks = surveys(lambda: Survey(place).promises(patterns), lambda: _stamp(place))
    try:
        if as_json:
            _print_changes(looks)
        else:
            _show(looks, place)
    except KeyboardInterrupt:
        return


def surveys(
    look: Callable[[], list[Listed]], stamp: Callable[[], object], pause: float = 0.5
) -> Iterator[list[Listed]]:
    """Yield what ``look`` finds, at once and every ``pause`` seconds; it looks only when ``stamp`` has changed."""
    seen: object = None
    found: list[Listed] = []
    while True:
        now = stamp()
        if now != seen:
            seen, found = now, look()
        yield found
        time.sleep(pause)


def _stamp(folder: NodeFolder) -> list[tuple[str, int]]:
    """Return what changes whenever the agent has judged otherwise, is told of other partitions, or one is silenced."""
    found = []
    for path in sorted([*folder.desired.glob("*.json"), *folder.observed.glob("*.json"), folder.silences]):
        with contextlib.suppress(FileNotFoundError):  # replaced or removed at this moment
            found.append((str(path), path.stat().st_mtime_ns))
    return found


def _print_changes(looks: Iterator[list[Listed]]) -> None:
    told: dict[tuple[str, str], tuple[str, float | None]] = {}
    for listed in looks:
        for item in listed:
            state = (item.status, item.since)
            if told.get((item.partition, item.name)) != state:
                told[item.partition, item.name] = state
                click.echo(json.dumps(describe(item)))


def _show(looks: Iterator[list[Listed]], folder: NodeFolder) -> None:
    from rich.live import Live

    with Live(auto_refresh=False, screen=False) as live:
        for listed in looks:
            live.update(_table(listed, live.console.height - 4, folder.lock.holder() is not None), refresh=True)


def _table(listed: list[Listed], height: int, is_watched: bool) -> "Table":
    from rich.table import Table
    from rich.text import Text

    bad = broken(listed)
    rest = [item for item in listed if item not in bad]
    shown = [*sorted(bad, key=lambda item: item.since or 0.0), *rest][: max(height, 5)]
    title = f"{len(bad)} broken of {len(listed)} promises{'' if is_watched else ', when an agent last ran'}"
    table = Table("promise", "status", "since", "message", title=title, expand=True, box=None, title_justify="left")
    for item in shown:
        state = Text(status(item), "dim" if item.silence else _COLOURS.get(item.status, ""))
        first = message(item).partition("\n")[0]
        table.add_row(item.full_name, state, ago(item.since) if item.since else "", Text(plain(first)))
    if len(shown) < len(listed):
        table.caption = f"and {len(listed) - len(shown)} more"
    return table
