# SPDX-License-Identifier: Apache-2.0
"""Why a promise is as it is: its measurements, the likely root, what changed before, what the logs said then."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from allotment.codec import encode
from allotment.errors import AllotmentError
from allotment.plugins import plugins
from allotment.secret import find, scrub
from allotment_node.folder import NodeFolder
from allotment_node.survey import Listed, Survey, broken

if TYPE_CHECKING:
    from allotment_promises.correlation import Broken, Cause
    from allotment_promises.history import History

BEFORE: Final = 600.0  # seconds before it broke in which changes and log lines are looked for
AFTER: Final = 30.0  # seconds after
_RUNS: Final = 10  # measurements that are shown
_LINES: Final = 15  # of one log
_LENGTH: Final = 300  # characters of a line


@dataclass(frozen=True)
class Change:
    """Something that happened near the moment, told to people."""

    time: float  # UTC epoch, seconds
    what: str


def explain(node: NodeFolder, survey: Survey, item: Listed) -> dict[str, Any]:
    """Return what is known of one promise as JSON data; times are UTC epochs in seconds.

    ``moment`` is when it broke; of one that is kept, when it was last seen to change.
    """
    from allotment_promises.history.reader import read

    bad = broken(survey.promises())
    guess = item.since or time.time()
    past = read(item.path, lambda history: _past(history, item.path, item.name, guess))
    moment = past["broken_since"]["start"] if past["broken_since"] else guess
    mine = next(
        (it for it in likely_causes(bad) if _is(item, it.root) or any(_is(item, one) for one in it.explained)), None
    )
    secrets = find(item.document.parameters)
    logs = {**_logs(_own_logs(node, item.partition), moment), **past["logs"]}
    return {
        "partition": item.partition,
        "promise": item.name,
        "status": item.status,
        "moment": moment,
        "silence": encode(item.silence),
        "root": describe(mine) if mine else None,
        "measurements": past["records"],
        "changes": [encode(change) for change in sorted(_changes(node, bad, item, moment, past), key=_time)],
        "logs": {name: [scrub(line, secrets) for line in lines] for name, lines in logs.items() if lines},
    }


def likely_causes(items: Iterable[Listed]) -> "list[Cause]":
    """Return the roots of what is broken on this node; see :mod:`allotment_promises.correlation`."""
    from allotment_promises.correlation import Broken, causes
    from allotment_promises.generic import Layer
    from allotment_promises.registry import PromiseTypes

    types = PromiseTypes(plugins())

    def node_of(item: Listed) -> "Broken":
        since = item.since or 0.0
        if item.promise is None:
            return Broken(item.partition, item.name, since, Layer.PROCESS)
        try:
            made = types.make(item.promise, item.path)
            layer, target = made.layer, made.target()
        except AllotmentError:  # its file is wrong: that explains nothing else
            layer, target = Layer.APPLICATION, ""
        return Broken(item.partition, item.name, since, layer, target, item.promise.file.after)

    return causes([node_of(item) for item in items])


def _is(item: Listed, other: "Broken") -> bool:
    return (item.partition, item.name) == (other.partition, other.name)


def describe(cause: "Cause") -> dict[str, Any]:
    """Return a cause as JSON data."""

    def name(item: "Broken") -> str:
        return f"{item.partition}/{item.name}"

    return {"promise": name(cause.root), "since": cause.root.since, "explains": [name(it) for it in cause.explained]}


def _past(history: "History", partition: Path, name: str, guess: float) -> dict[str, Any]:
    """Return what the partition itself knows; runs as its user."""
    from allotment_promises.history.queries import broken_since

    first = broken_since(history, name)
    moment = first.start if first else guess
    changes = history.changes(50, moment - BEFORE)
    logs = [path for folder in ("var/log", "log") for path in sorted((partition / folder).glob("*.log"))[:20]]
    return {
        "broken_since": encode(first),
        "records": [encode(item) for item in history.newest(name, _RUNS)],
        "streaks": [encode(item) for item in changes if item.name != name and item.start <= moment + AFTER],
        "logs": {f"{path.relative_to(partition)}": lines for path, lines in _logs_of(logs, moment)},
    }


def _changes(node: NodeFolder, bad: Iterable[Listed], item: Listed, moment: float, past: Any) -> Iterator[Change]:
    """Yield what happened in the time before: processings, releases, other promises here and elsewhere."""
    processed = node.processed / f"{item.partition}.json"
    found = [Change(streak["start"], f"promise {streak['name']} {streak['state']}") for streak in past["streaks"]]
    found += [
        Change(other.since, f"promise {other.full_name} {other.status}")
        for other in bad
        if other.since is not None and other.partition != item.partition
    ]
    if (at := _changed(processed)) is not None:
        outcome = json.loads(processed.read_bytes())["outcome"]
        found.append(Change(at, f"{item.partition} was processed: {outcome}"))
    release = next(node.software.glob(f"*-{item.document.manifest[:12]}"), None)
    if release is not None and (at := _changed(release)) is not None:
        found.append(Change(at, f"release {release.name} was installed"))
    yield from (change for change in found if moment - BEFORE <= change.time <= moment + AFTER)


def _changed(path: Path) -> float | None:
    try:
        return path.lstat().st_mtime
    except OSError:
        return None


def _time(change: Change) -> float:
    return change.time


def _own_logs(node: NodeFolder, partition: str) -> list[Path]:
    """Return the logs that the node keeps of a partition: its processing's, and its services' output."""
    return [node.logs / f"{partition}.log", *sorted(node.service_logs.glob(f"{partition}.*.log"))]


def _logs(paths: Sequence[Path], moment: float) -> dict[str, list[str]]:
    return {path.name: lines for path, lines in _logs_of(paths, moment)}


def _logs_of(paths: Iterable[Path], moment: float) -> Iterator[tuple[Path, list[str]]]:
    for path in paths:
        try:
            yield path, lines_near(path, moment)
        except (OSError, ValueError):  # removed, rotated or written anew meanwhile: there is nothing to show
            continue


def lines_near(path: Path, moment: float) -> list[str]:
    """Return the last lines of a log that were written within :data:`BEFORE` and :data:`AFTER` of a moment.

    Of a log whose lines do not tell their time: its last lines, if it was written to since then.
    """
    from allotment_promises.sensing.log_times import LogTimes
    from allotment_promises.sensing.logs import LogLines, LogProblem

    if path.lstat().st_mtime < moment - BEFORE:
        return []
    times = LogTimes(time.time())
    recent = (
        line for line in LogLines(path, moment - BEFORE) if (at := times.find(line)) is None or at <= moment + AFTER
    )
    try:
        kept = list(islice(recent, _LINES))
    except LogProblem:
        kept = list(islice(LogLines(path, 0.0), _LINES))
    return [line[:_LENGTH] for line in reversed(kept)]
