# SPDX-License-Identifier: Apache-2.0
"""The process that keeps one batch: becomes the partition's user, has its promises run, writes the history, answers."""

import contextlib
import json
import logging
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from allotment.errors import AllotmentError, nearest
from allotment_promises import catalogue, process
from allotment_promises.batch import Batch, LauncherGone
from allotment_promises.catalogue import EXECUTABLE, FOLDER, Promise
from allotment_promises.history import History, HistoryError, Record
from allotment_promises.identity import become_owner
from allotment_promises.measurement import Measurement
from allotment_promises.modules.learning import learn
from allotment_promises.registry import PromiseTypes
from allotment_promises.result import PromiseStatus, clean
from allotment_promises.runner import Outcome, Scene, Task, describe

_ANSWER_SECONDS = 30.0  # a launcher that does not read its answer for so long is given up


def keep(launcher: socket.socket, types: PromiseTypes, memory: int) -> None:
    """Serve one request of a launcher, then return; leaves no process behind.

    The answer is lines: of results as they come, at last an empty one. A line may say what is wrong instead.
    """
    process.adopt_orphans()
    with launcher.makefile("rb") as stream:
        line = stream.readline()
    if not line:
        return  # the launcher was closed in between
    request = json.loads(line)
    try:
        try:
            _serve(request, launcher, types, memory)
        except AllotmentError as error:
            _say(launcher, {"error": error.what, "fix": error.fix})
        except Exception as error:  # a bug: the launcher's log is the one place where it is seen
            _say(launcher, {"error": f"{request['partition']}: {describe(error)}", "fix": "Report this bug"})
        finally:
            process.kill_children()
        _say(launcher, {})
    except LauncherGone:
        return


def _serve(request: Mapping[str, Any], launcher: socket.socket, types: PromiseTypes, memory: int) -> None:
    """Answer a request; from its first line on this process is the partition's user."""
    partition = Path(request["partition"])
    _let_go_of_output(launcher)
    try:
        become_owner(partition)
    except FileNotFoundError:
        return
    except OSError as error:
        raise AllotmentError(f"{partition} can't be entered: {error.strerror}", "Look at its owner and mode") from error
    promises = catalogue.read(partition)
    if request["ask"] == "timings":
        process.limit_memory(memory, 0)  # a module's code runs to say when it runs
        if learn(partition, [promise.path for promise in promises if promise.kind == "module"]):
            promises = catalogue.read(partition)
        _say(launcher, {"found": [asdict(_timing(promise, types)) for promise in promises]})
        return
    names: list[str] | None = request["names"]
    wanted = promises if names is None else _select(promises, names)
    wanted = [promise for promise in wanted if promise.name not in request["without"]]
    with History(partition) as history:
        _run(history, Scene(types, partition, request["mode"], memory), wanted, launcher)
        if names is None:
            with contextlib.suppress(HistoryError):  # then the next run drops them
                history.prune({promise.name for promise in promises})


def _let_go_of_output(launcher: socket.socket) -> None:
    """Let go of the agent's log or terminal, which the partition's user could take from here; warnings are answers."""
    with open(os.devnull, "wb") as nowhere:
        for handle in (1, 2):
            os.dup2(nowhere.fileno(), handle)
    logging.getLogger().addHandler(_Teller(launcher))


class _Teller(logging.Handler):
    """Has the launcher log what is logged here, and not in a process that is forked from this one."""

    def __init__(self, launcher: socket.socket) -> None:
        super().__init__(logging.WARNING)
        self._launcher = launcher
        self._pid = os.getpid()

    def emit(self, record: logging.LogRecord) -> None:
        if os.getpid() == self._pid:
            _say(self._launcher, {"log": record.getMessage()})


def _say(launcher: socket.socket, line: Mapping[str, object]) -> None:
    launcher.settimeout(_ANSWER_SECONDS)
    try:
        launcher.sendall(json.dumps(line).encode() + b"\n")
    except OSError as error:  # gone, or not reading: nobody is left to tell
        raise LauncherGone from error


def _timing(promise: Promise, types: PromiseTypes) -> catalogue.Timing:
    file, traits = promise.file, types.traits(promise)
    return catalogue.Timing(promise.name, traits.period, file.jitter, traits.only, file.bang)


def _run(history: History, scene: Scene, wanted: Iterable[Promise], launcher: socket.socket) -> None:
    """Run promises and tell their results; one of the other phase has none."""
    tasks = []
    for promise in wanted:
        traits = scene.types.traits(promise)
        if traits.only in ("", scene.mode):
            looks_back = scene.mode == "anomaly" and traits.window > 1
            past = _past(history, promise, traits.window - 1) if looks_back else ()
            tasks.append(Task(promise, traits, tuple(past)))
    periods = {task.promise.name: task.traits.period for task in tasks}

    def tell(outcomes: Mapping[str, Outcome]) -> None:
        kept, problem = _remember(history, outcomes, periods)
        history.close()
        results = [asdict(outcome.result) for _, outcome in sorted(kept.items())]
        _say(launcher, {"found": results, "problem": problem})

    history.close()  # before processes are forked
    Batch(scene, launcher).run(tasks, tell)


def _past(history: History, promise: Promise, count: int) -> Sequence[Measurement]:
    """Return what was measured before; nothing when that can't be read: writing says why."""
    try:
        return history.measurements(promise.name, count)
    except HistoryError:
        return ()


def _remember(
    history: History, outcomes: Mapping[str, Outcome], periods: Mapping[str, float]
) -> tuple[Mapping[str, Outcome], str]:
    """Write the history; return the outcomes, and why it could not be written.

    A failure that can't be remembered is not tolerated either: on a full disk every one would be the first.
    """
    if not outcomes:
        return outcomes, ""
    try:
        history.append_all([(name, _record(outcome, periods[name])) for name, outcome in outcomes.items()])
    except HistoryError as error:
        return {name: _not_remembered(outcome, error) for name, outcome in outcomes.items()}, str(error)
    return outcomes, ""


def _record(outcome: Outcome, period: float) -> Record:
    result = outcome.result
    return Record(result.started, result.seconds, outcome.measured, result.message, result.metrics, period)


def _not_remembered(outcome: Outcome, error: HistoryError) -> Outcome:
    if outcome.measured is not False:
        return outcome
    message = clean(f"{outcome.result.message}; no failure is tolerated while its history can't be kept: {error.what}")
    return replace(outcome, result=replace(outcome.result, status=PromiseStatus.FAILED, message=message))


def _select(promises: Sequence[Promise], names: list[str]) -> list[Promise]:
    """Return the promises of these names; one that is not there becomes a broken one, so that it has a result."""
    known = {promise.name: promise for promise in promises}
    missing = [name for name in dict.fromkeys(names) if name not in known]
    hint = nearest(missing[0], tuple(known)) if missing else ""
    absent = [Promise(name, FOLDER / name, EXECUTABLE, problem=f"{FOLDER} has no '{name}'. {hint}") for name in missing]
    return [known[name] for name in dict.fromkeys(names) if name in known] + absent
