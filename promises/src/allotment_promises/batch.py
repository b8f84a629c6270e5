# SPDX-License-Identifier: Apache-2.0
"""One batch: forks the process that runs the promises, and outlives its crash or hang.

Threads of one forked process run all promises of the batch. When that process crashes, or stops answering because a
promise holds the interpreter, the promises that were running are run again in a process each, the others together.
"""

import json
import os
import select
import signal
import socket
import time
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from allotment_promises import process
from allotment_promises.command import signal_name
from allotment_promises.registry import PromiseTypes
from allotment_promises.result import PromiseResult, PromiseStatus
from allotment_promises.runner import Mode, Outcome, Task, from_line, hang, run_tasks

_ALONE = 16  # processes of one promise at a time
_GRACE = 2.0  # seconds over a promise's limit after which its process has stopped answering
_SILENCE = 10.0  # seconds in which a process with promises to start must start one
_LINE_LIMIT = 1 << 16  # bytes


class LauncherGone(Exception):
    """Whoever wanted the results has gone."""


@dataclass
class _Runner:
    """A process that runs promises."""

    pid: int
    pipe: int
    tasks: dict[str, Task]
    heard: float  # when it last said something, on the monotonic clock
    started: dict[str, float] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    rest: bytes = b""
    is_stuck: bool = False

    def deadline(self) -> float:
        """Return until when it must say something."""
        limits = [at + self.tasks[name].promise.timeout for name, at in self.started.items()]
        return min(limits) + _GRACE if limits else self.heard + _SILENCE


class Batch:
    """Runs promises and returns an outcome for each, whatever they do."""

    def __init__(self, types: PromiseTypes, partition: Path, mode: Mode, launcher: socket.socket) -> None:
        self._types = types
        self._partition = partition
        self._mode = mode
        self._launcher = launcher
        self._poll = select.poll()
        self._poll.register(launcher, select.POLLRDHUP)
        self._runners: dict[int, _Runner] = {}  # by pipe
        self._alone: deque[Task] = deque()
        self._outcomes: dict[str, Outcome] = {}

    def run(self, tasks: Sequence[Task]) -> dict[str, Outcome]:
        """Return the outcomes by name; raises :class:`LauncherGone`. Afterwards the caller kills its children."""
        if tasks:
            self._start(tasks)
        while self._runners or self._alone:
            while self._alone and len(self._runners) < _ALONE:
                self._start([self._alone.popleft()])
            self._wait()
        return self._outcomes

    def _start(self, tasks: Sequence[Task]) -> None:
        read, write = os.pipe2(os.O_CLOEXEC)
        keeper = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                process.die_with(keeper)
                self._launcher.close()
                run_tasks(tasks, self._types, self._partition, self._mode, lambda line: _write_all(write, line))
            except BaseException:  # whatever it is, this copy of the keeper must not go on as a second keeper
                traceback.print_exc()
                os._exit(1)
            os._exit(0)  # threads that hang end here
        os.close(write)
        self._runners[read] = _Runner(pid, read, {task.promise.name: task for task in tasks}, time.monotonic())
        self._poll.register(read, select.POLLIN)

    def _wait(self) -> None:
        left = min(runner.deadline() for runner in self._runners.values()) - time.monotonic()
        for handle, _ in self._poll.poll(max(0.0, left) * 1000):
            if handle == self._launcher.fileno():
                raise LauncherGone
            runner = self._runners[handle]
            chunk = os.read(handle, 1 << 18)
            if not chunk or not self._listen(runner, chunk):
                self._end(runner)
        for runner in [item for item in self._runners.values() if item.deadline() <= time.monotonic()]:
            runner.is_stuck = True
            self._end(runner)

    def _listen(self, runner: _Runner, chunk: bytes) -> bool:
        """Take in what a runner says; return False when it is done, or talks nonsense."""
        runner.heard = time.monotonic()
        *lines, runner.rest = (runner.rest + chunk).split(b"\n")
        try:
            for line in lines:
                data = json.loads(line)
                if "begun" in data:
                    runner.started[runner.tasks[data["begun"]].promise.name] = runner.heard
                    continue
                outcome = from_line(data)
                self._outcomes[runner.tasks[outcome.result.name].promise.name] = outcome
                runner.finished.add(outcome.result.name)
                runner.started.pop(outcome.result.name, None)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return False
        return len(runner.rest) <= _LINE_LIMIT and len(runner.finished) < len(runner.tasks)

    def _end(self, runner: _Runner) -> None:
        """Reap a runner, and see to it that its unfinished promises are run again or get an outcome."""
        del self._runners[runner.pipe]
        self._poll.unregister(runner.pipe)
        os.close(runner.pipe)
        unfinished = [task for name, task in runner.tasks.items() if name not in runner.finished]
        code = _reap(runner.pid, patience=1.0 if unfinished and not runner.is_stuck else 0.0)
        if not unfinished:
            return
        if len(runner.tasks) == 1:
            (task,) = unfinished
            self._outcomes[task.promise.name] = hang(task, self._mode) if runner.is_stuck else _crash(task, code)
            return
        suspects = [task for task in unfinished if task.promise.name in runner.started] or unfinished
        self._alone.extend(suspects)
        if len(suspects) < len(unfinished):
            self._start([task for task in unfinished if task not in suspects])


def _crash(task: Task, code: int) -> Outcome:
    how = f"was killed by {signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
    message = f"the promise's process {how} before it had a result"
    return Outcome(PromiseResult(task.promise.name, PromiseStatus.ERROR, message, time.time(), 0.0), None)


def _reap(pid: int, patience: float) -> int:
    """Return a child's exit code (negative: the signal); one that lives on after ``patience`` seconds is killed."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _write_all(pipe: int, line: bytes) -> None:
    while line:
        line = line[os.write(pipe, line) :]
