# SPDX-License-Identifier: Apache-2.0
"""Run promises side by side in threads, each with its time limit; the body of a forked process that may crash."""

import json
import math
import os
import queue
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from allotment.errors import AllotmentError
from allotment.secret import find
from allotment_promises.catalogue import Promise
from allotment_promises.generic import GenericPromise
from allotment_promises.history import History
from allotment_promises.measurement import Measurement, Metric, in_order
from allotment_promises.registry import PromiseTypes, Traits
from allotment_promises.result import METRICS_LIMIT, TARGET_LIMIT, PromiseResult, PromiseStatus, clean

Mode = Literal["test", "anomaly"]
THREADS = 256  # at a time; more promises wait for their turn, and their time limit starts only then
NO_MEMORY = 12  # exit code of a process of several promises in which one needed too much
_GRACE = 0.5  # seconds that a check with the same limit inside gets to report what it knows


@dataclass(frozen=True)
class Scene:
    """What all promises of a batch have in common."""

    types: PromiseTypes
    partition: Path
    mode: Mode
    memory: int  # bytes that the promises of one process may use


@dataclass(frozen=True)
class Task:
    """One promise to run, and what it measured before, oldest first."""

    promise: Promise
    traits: Traits
    past: tuple[Measurement, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """A result, and the plain measurement for the history: None when the promise could not measure."""

    result: PromiseResult
    measured: bool | None


@dataclass
class _Running:
    task: Task
    deadline: float  # on the monotonic clock
    target: list[str] = field(default_factory=list)  # what it looks at, once its thread knows


def run_tasks(tasks: Sequence[Task], scene: Scene, write: Callable[[bytes], None]) -> None:
    """Run ``tasks``; write a JSON line when one starts (``{"begun": name}``) and when one ends (:func:`to_line`)."""
    finished: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    waiting = deque(tasks)
    running: dict[str, _Running] = {}
    run = partial(_run, scene, finished.put, len(tasks) == 1)
    while waiting or running:
        while waiting and len(running) < THREADS:
            task = waiting.popleft()
            write(json.dumps({"begun": task.promise.name}).encode() + b"\n")
            one = _Running(task, time.monotonic() + task.traits.timeout + _GRACE)
            running[task.promise.name] = one
            threading.Thread(target=run, args=(task, one.target), daemon=True).start()
        left = min(one.deadline for one in running.values()) - time.monotonic()
        try:
            outcome = finished.get(timeout=max(0.0, left))
        except queue.Empty:
            now = time.monotonic()
            for one in [item for item in running.values() if item.deadline <= now]:
                del running[one.task.promise.name]
                write(to_line(hang(one.task, scene.mode, *one.target)))
        else:
            if running.pop(outcome.result.name, None):  # else it ended after its time was up
                write(to_line(outcome))


def _run(scene: Scene, put: Callable[[Outcome], None], is_alone: bool, task: Task, target: list[str]) -> None:
    started, clock = time.time(), time.monotonic()
    metrics: Mapping[str, Metric] = {}
    is_passed: bool | None = None
    try:
        promise = scene.types.make(task.promise, scene.partition)
        promise.series = partial(_series, scene.partition, task.promise.name)
        target.append(str(promise.target())[:TARGET_LIMIT])
        measured = replace(_checked(promise.sense(), "sense"), time=started)
        judged = _checked(judge(promise, measured, task.past, scene.mode), scene.mode)
        status = PromiseStatus.PASSED if judged.is_passed else PromiseStatus.FAILED
        message, metrics, is_passed = str(judged.message), _metrics(measured.metrics), bool(measured.is_passed)
    except MemoryError:
        if not is_alone:
            os._exit(NO_MEMORY)  # whose fault it is shows when each runs alone
        limit = scene.memory >> 20
        status, message = PromiseStatus.ERROR, f"needs more memory than the {limit} MiB that a promise may use"
    except AllotmentError as error:
        status, message = PromiseStatus.ERROR, str(error)
    except BaseException as error:  # other people's code: whatever it raises, SystemExit too, is this promise's error
        status, message = PromiseStatus.ERROR, describe(error)
    message = clean(message, find(task.promise.file.options))
    seconds = time.monotonic() - clock
    put(Outcome(result(task, status, message, started, seconds, metrics, *target), is_passed))


def result(
    task: Task,
    status: PromiseStatus,
    message: str,
    started: float,
    seconds: float = 0.0,
    metrics: Mapping[str, Metric] | None = None,
    target: str = "",
) -> PromiseResult:
    """Return the result of a task."""
    promise = task.promise
    return PromiseResult(
        promise.name, status, message, started, seconds, metrics or {}, task.traits.layer, target, promise.file.after
    )


def judge(promise: GenericPromise[Any], measured: Measurement, past: Sequence[Measurement], mode: Mode) -> Measurement:
    """Return what ``promise`` makes of a new measurement."""
    if mode == "test":
        return promise.test(measured)
    return promise.anomaly(in_order([*past, measured])[-max(1, promise.window) :])


def hang(task: Task, mode: Mode, target: str = "") -> Outcome:
    """Return the outcome of a promise that did not end in time: a failed measurement, judged as usual."""
    timeout = task.traits.timeout
    started = time.time() - timeout
    measured = replace(Measurement.failed(f"did not end within {timeout:g} s"), time=started)
    judging = _Hung(None, Path(), task.promise.name)
    judging.count(task.traits.failures, task.traits.window, task.traits.over)
    judged = judge(judging, measured, task.past, mode)
    status = PromiseStatus.PASSED if judged.is_passed else PromiseStatus.FAILED
    return Outcome(result(task, status, judged.message, started, timeout, {}, target), False)


class _Hung(GenericPromise[None]):
    """Judges with the default rule: the type's own code is what hangs."""

    def sense(self) -> Measurement:
        return Measurement.failed("hangs")


def to_line(outcome: Outcome) -> bytes:
    """Return an outcome as the line that :func:`from_line` reads."""
    return json.dumps({**asdict(outcome.result), "measured": outcome.measured}).encode() + b"\n"


def from_line(task: Task, data: Mapping[str, Any]) -> Outcome:
    """Return the outcome of a task from its parsed line; a wrong one is a ValueError, TypeError or KeyError."""
    found = result(
        task,
        PromiseStatus(data["status"]),
        clean(str(data["message"])),
        float(data["started"]),
        float(data["seconds"]),
        _metrics({key: Metric(**item) for key, item in data["metrics"].items()}),
        str(data["target"])[:TARGET_LIMIT],
    )
    return Outcome(found, None if data["measured"] is None else bool(data["measured"]))


def _series(partition: Path, name: str, metric: str, seconds: float) -> Sequence[tuple[float, float]]:
    with History(partition) as history:
        return history.series(name, metric, seconds)


def _checked(value: object, method: str) -> Measurement:
    if not isinstance(value, Measurement):
        raise AllotmentError(f"{method} returned {type(value).__name__}, not a Measurement", "Return one")
    return value


def _metrics(metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    kept = list(metrics.items())[:METRICS_LIMIT]
    numbers = {str(key)[:100]: Metric(float(item.value), str(item.unit)[:20]) for key, item in kept}
    return {key: item for key, item in numbers.items() if math.isfinite(item.value)}


def describe(error: BaseException) -> str:
    """Return an exception with the place that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
