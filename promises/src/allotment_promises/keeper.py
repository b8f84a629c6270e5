# SPDX-License-Identifier: Apache-2.0
"""The process that keeps one batch: reads the partition, has the promises run, writes the history, answers."""

import contextlib
import json
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from allotment.errors import nearest
from allotment_promises import catalogue, process
from allotment_promises.batch import Batch, LauncherGone
from allotment_promises.catalogue import EXECUTABLE, FOLDER, Promise
from allotment_promises.history import History, Record
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
    history = History(partition)
    past = {item.name: history.measurements(item.name, HISTORY_LIMIT) if mode == "anomaly" else () for item in wanted}
    tasks = [Task(promise, tuple(past[promise.name])) for promise in wanted]
    outcomes = Batch(types, partition, mode, launcher).run(tasks)
    kept = _remember(history, outcomes, partition)
    if names is None:
        with contextlib.suppress(OSError):  # then the next run drops them
            history.prune({promise.name for promise in promises})
    return kept


def _remember(history: History, outcomes: Mapping[str, Outcome], partition: Path) -> Mapping[str, Outcome]:
    """Write the history and return the outcomes; one file that can't be written does not end the others' history.

    A failure that can't be remembered is not tolerated either: on a full disk every one would be the first.
    """
    found = dict(outcomes)
    problem = ""
    for name, outcome in outcomes.items():
        result = outcome.result
        try:
            history.append(name, Record(result.started, result.seconds, outcome.measured, result.message))
        except OSError as error:
            problem = str(error)
            if outcome.measured is False:
                message = clean(f"{result.message}; its history can't be kept: {error.strerror}")
                found[name] = replace(outcome, result=replace(result, status=PromiseStatus.FAILED, message=message))
    if problem:
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {partition}: the history of promises can't be kept: {problem}\n")
    return found


def _select(promises: Iterable[Promise], names: list[str]) -> list[Promise]:
    """Return the promises of these names; one that is not there becomes a broken one, so that it has a result."""
    known = {promise.name: promise for promise in promises}
    missing = [name for name in dict.fromkeys(names) if name not in known]
    hint = nearest(missing[0], tuple(known)) if missing else ""
    absent = [Promise(name, FOLDER / name, EXECUTABLE, problem=f"{FOLDER} has no '{name}'. {hint}") for name in missing]
    return [known[name] for name in dict.fromkeys(names) if name in known] + absent
