# SPDX-License-Identifier: Apache-2.0
"""Run promises side by side in threads, each with its time limit; the body of a forked process that may crash."""

import json
import math
import queue
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from allotment.errors import AllotmentError
from allotment.secret import find
from allotment_promises.catalogue import Promise
from allotment_promises.generic import GenericPromise
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.registry import PromiseTypes
from allotment_promises.result import PromiseResult, PromiseStatus, clean

Mode = Literal["test", "anomaly"]
HISTORY_LIMIT = 20  # measurements that a promise may look back on
METRICS_LIMIT = 20
_THREADS = 256  # at a time; more promises wait for their turn, and their time limit starts only then
_GRACE = 0.5  # seconds that a check with the same limit inside gets to report what it knows


@dataclass(frozen=True)
class Task:
    """One promise to run, and what it measured before, oldest first."""

    promise: Promise
    past: tuple[Measurement, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """A result, and the plain measurement for the history: None when the promise could not measure."""

    result: PromiseResult
    measured: bool | None


def run_tasks(
    tasks: Sequence[Task], types: PromiseTypes, partition: Path, mode: Mode, write: Callable[[bytes], None]
) -> None:
    """Run ``tasks``; write a JSON line when one starts (``{"begun": name}``) and when one ends (:func:`to_line`)."""
    finished: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    waiting = deque(tasks)
    running: dict[str, tuple[Task, float]] = {}  # name -> task, deadline on the monotonic clock
    while waiting or running:
        while waiting and len(running) < _THREADS:
            task = waiting.popleft()
            write(json.dumps({"begun": task.promise.name}).encode() + b"\n")
            running[task.promise.name] = (task, time.monotonic() + task.promise.timeout + _GRACE)
            arguments = (task, types, partition, mode, finished.put)
            threading.Thread(target=_run, args=arguments, daemon=True).start()
        left = min(deadline for _, deadline in running.values()) - time.monotonic()
        try:
            outcome = finished.get(timeout=max(0.0, left))
        except queue.Empty:
            now = time.monotonic()
            for task, deadline in list(running.values()):
                if deadline <= now:
                    del running[task.promise.name]
                    write(to_line(hang(task, mode)))
        else:
            if running.pop(outcome.result.name, None):  # else it ended after its time was up
                write(to_line(outcome))


def _run(task: Task, types: PromiseTypes, partition: Path, mode: Mode, put: Callable[[Outcome], None]) -> None:
    started, clock = time.time(), time.monotonic()
    secrets = find(task.promise.file.options)
    try:
        promise = types.make(task.promise, partition)
        measured = _checked(promise.sense(), "sense")
        judged = _checked(judge(promise, measured, task.past, mode), mode)
        status = PromiseStatus.PASSED if judged.is_passed else PromiseStatus.FAILED
        message, metrics, is_passed = str(judged.message), _metrics(measured.metrics), bool(measured.is_passed)
    except AllotmentError as error:
        status, message, metrics, is_passed = PromiseStatus.ERROR, str(error), {}, None
    except BaseException as error:  # other people's code: whatever it raises, SystemExit too, is this promise's error
        status, message, metrics, is_passed = PromiseStatus.ERROR, _describe(error), {}, None
    seconds = time.monotonic() - clock
    put(
        Outcome(PromiseResult(task.promise.name, status, clean(message, secrets), started, seconds, metrics), is_passed)
    )


def judge(promise: GenericPromise[Any], measured: Measurement, past: Sequence[Measurement], mode: Mode) -> Measurement:
    """Return what ``promise`` makes of a new measurement."""
    if mode == "test":
        return promise.test(measured)
    window = max(1, min(promise.window, HISTORY_LIMIT))
    return promise.anomaly([*past, measured][-window:])


def hang(task: Task, mode: Mode) -> Outcome:
    """Return the outcome of a promise that did not end in time: a failed measurement, judged as usual."""
    timeout = task.promise.timeout
    measured = Measurement.failed(f"did not end within {timeout:g} s")
    if mode == "anomaly":
        judging = _Hung(None, Path(), task.promise.name)
        judging.count(task.promise.file.failures, task.promise.file.window)
        measured = judging.anomaly([*task.past, measured][-judging.window :])
    status = PromiseStatus.PASSED if measured.is_passed else PromiseStatus.FAILED
    return Outcome(PromiseResult(task.promise.name, status, measured.message, time.time() - timeout, timeout), False)


class _Hung(GenericPromise[None]):
    """Judges with the default rule: the type's own code is what hangs."""

    def sense(self) -> Measurement:
        return Measurement.failed("hangs")


def to_line(outcome: Outcome) -> bytes:
    """Return an outcome as the line that :func:`from_line` reads."""
    return json.dumps({**asdict(outcome.result), "measured": outcome.measured}).encode() + b"\n"


def from_line(data: Mapping[str, Any]) -> Outcome:
    """Return the outcome of a parsed line; a wrong one is a ValueError, TypeError or KeyError."""
    result = PromiseResult(
        str(data["name"]),
        PromiseStatus(data["status"]),
        clean(str(data["message"])),
        float(data["started"]),
        float(data["seconds"]),
        _metrics({key: Metric(**item) for key, item in data["metrics"].items()}),
    )
    return Outcome(result, None if data["measured"] is None else bool(data["measured"]))


def _checked(value: object, method: str) -> Measurement:
    if not isinstance(value, Measurement):
        raise AllotmentError(f"{method} returned {type(value).__name__}, not a Measurement", "Return one")
    return value


def _metrics(metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    kept = list(metrics.items())[:METRICS_LIMIT]
    numbers = {str(key)[:100]: Metric(float(item.value), str(item.unit)[:20]) for key, item in kept}
    return {key: item for key, item in numbers.items() if math.isfinite(item.value)}


def _describe(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
