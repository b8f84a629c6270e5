# SPDX-License-Identifier: Apache-2.0
"""The process that keeps one batch: reads the partition, has the promises run, writes the history, answers."""

import contextlib
import json
import socket
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from allotment.errors import nearest
from allotment_promises import catalogue, process
from allotment_promises.batch import Batch, LauncherGone
from allotment_promises.catalogue import EXECUTABLE, FOLDER, Promise
from allotment_promises.history import History, HistoryError, Record
from allotment_promises.measurement import Measurement
from allotment_promises.registry import PromiseTypes
from allotment_promises.result import PromiseStatus, clean
from allotment_promises.runner import HISTORY_LIMIT, Mode, Outcome, Task

_ANSWER_SECONDS = 30.0  # a launcher that does not read its answer for so long is given up


def keep(launcher: socket.socket, types: PromiseTypes) -> None:
    """Serve one request of a launcher, then return; leaves no process behind."""
    process.adopt_orphans()
    with launcher.makefile("rb") as stream:
        line = stream.readline()
    if not line:
        return  # the launcher was closed in between
    request = json.loads(line)
    try:
        outcomes = _run(Path(request["partition"]), request["mode"], request["names"], launcher, types)
    except LauncherGone:
        return
    finally:
        process.kill_children()
    answer = json.dumps([asdict(outcome.result) for _, outcome in sorted(outcomes.items())])
    launcher.settimeout(_ANSWER_SECONDS)
    with contextlib.suppress(OSError):  # gone, or not reading: nobody is left to tell
        launcher.sendall(answer.encode() + b"\n")


def _run(
    partition: Path, mode: Mode, names: list[str] | None, launcher: socket.socket, types: PromiseTypes
) -> Mapping[str, Outcome]:
    promises = catalogue.read(partition)
    wanted = promises if names is None else _select(promises, names)
    past = _past(partition, wanted) if mode == "anomaly" else {}
    tasks = [Task(promise, tuple(past.get(promise.name, ()))) for promise in wanted]
    outcomes = Batch(types, partition, mode, launcher).run(tasks)
    with History(partition) as history:
        kept = _remember(history, outcomes, {promise.name: promise.period for promise in wanted}, partition)
        if names is None:
            with contextlib.suppress(HistoryError):  # then the next run drops them
                history.prune({promise.name for promise in promises})
    return kept


def _past(partition: Path, wanted: Iterable[Promise]) -> Mapping[str, Sequence[Measurement]]:
    """Return what was measured before; nothing when that can't be read: writing says why."""
    try:
        with History(partition) as history:
            return {item.name: history.measurements(item.name, HISTORY_LIMIT) for item in wanted}
    except HistoryError:
        return {}


def _remember(
    history: History, outcomes: Mapping[str, Outcome], periods: Mapping[str, float], partition: Path
) -> Mapping[str, Outcome]:
    """Write the history and return the outcomes, all the same when it can't be written.

    A failure that can't be remembered is not tolerated either: on a full disk every one would be the first.
    """
    records = [(name, _record(outcome, periods[name])) for name, outcome in outcomes.items()]
    try:
        history.append_all(records)
    except HistoryError as error:
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {partition}: the history of promises can't be kept: {error}\n")
        return {name: _not_remembered(outcome, error) for name, outcome in outcomes.items()}
    return outcomes


def _record(outcome: Outcome, period: float) -> Record:
    result = outcome.result
    return Record(result.started, result.seconds, outcome.measured, result.message, result.metrics, period)


def _not_remembered(outcome: Outcome, error: HistoryError) -> Outcome:
    if outcome.measured is not False:
        return outcome
    message = clean(f"{outcome.result.message}; its history can't be kept: {error.what}")
    return replace(outcome, result=replace(outcome.result, status=PromiseStatus.FAILED, message=message))


def _select(promises: Iterable[Promise], names: list[str]) -> list[Promise]:
    """Return the promises of these names; one that is not there becomes a broken one, so that it has a result."""
    known = {promise.name: promise for promise in promises}
    missing = [name for name in dict.fromkeys(names) if name not in known]
    hint = nearest(missing[0], tuple(known)) if missing else ""
    absent = [Promise(name, FOLDER / name, EXECUTABLE, problem=f"{FOLDER} has no '{name}'. {hint}") for name in missing]
    return [known[name] for name in dict.fromkeys(names) if name in known] + absent
