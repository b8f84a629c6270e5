# SPDX-License-Identifier: Apache-2.0
"""One batch: forks the process that runs the promises, and outlives its crash or hang.

Threads of one forked process run all promises of the batch. When that process crashes, or stops answering because a
promise holds the interpreter, the promises that were running are run again in a process each, the others together.
"""

import contextlib
import json
import os
import select
import signal
import socket
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from allotment.secret import find
from allotment_promises import process
from allotment_promises.command import signal_name
from allotment_promises.result import PromiseStatus, clean
from allotment_promises.runner import THREADS, Outcome, Scene, Task, from_line, hang, result, run_tasks

_ALONE = 16  # processes of one promise at a time
_GRACE = 2.0  # seconds over a promise's limit after which its process has stopped answering
_SILENCE = 10.0  # seconds in which a process with promises to start must start one
_TELL = 0.3  # seconds after which outcomes are told although others are still awaited
_LINE_LIMIT = 1 << 16  # bytes
_CHUNK = 1 << 18  # bytes
_PRINTED_LIMIT = 1000  # bytes of what a process prints, the newest, to be told when it crashes


class LauncherGone(Exception):
    """Whoever wanted the results has gone."""


@dataclass
class _Runner:
    """A process that runs promises."""

    pid: int
    pipe: int
    errors: int  # its stderr
    end: int  # readable when it has ended: a child that it leaves may hold its pipes open
    tasks: dict[str, Task]
    heard: float  # when it last said something, on the monotonic clock
    started: dict[str, float] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    rest: bytes = b""
    printed: bytes = b""
    is_stuck: bool = False

    def deadline(self) -> float:
        """Return until when it must say something."""
        limits = [at + self.tasks[name].traits.timeout for name, at in self.started.items()]
        return min(limits) + _GRACE if limits else self.heard + _SILENCE


class Batch:
    """Runs promises and tells an outcome of each, whatever they do."""

    def __init__(self, scene: Scene, launcher: socket.socket) -> None:
        self._scene = scene
        self._launcher = launcher
        self._poll = select.poll()
        self._poll.register(launcher, select.POLLRDHUP)
        self._runners: dict[int, _Runner] = {}  # by pid
        self._handles: dict[int, _Runner] = {}  # by what is open of it
        self._alone: deque[Task] = deque()
        self._outcomes: dict[str, Outcome] = {}

    def run(self, tasks: Sequence[Task], tell: Callable[[Mapping[str, Outcome]], None]) -> None:
        """Tell the outcomes by name, those that take long after the others; if all do, first that there are none.

        Raises :class:`LauncherGone`. Afterwards the caller kills its children.
        """
        if tasks:
            self._start(tasks)
        until = time.monotonic() + _TELL
        has_told = False
        while self._runners or self._alone:
            while self._alone and len(self._runners) < _ALONE:
                self._start([self._alone.popleft()])
            is_awaited = bool(self._outcomes) or not has_told
            self._wait(until if is_awaited else None)
            if is_awaited and time.monotonic() >= until:
                self._tell(tell)
                has_told = True
                until = time.monotonic() + _TELL
        self._tell(tell)

    def _tell(self, tell: Callable[[Mapping[str, Outcome]], None]) -> None:
        outcomes, self._outcomes = self._outcomes, {}
        tell(outcomes)

    def _start(self, tasks: Sequence[Task]) -> None:
        (read, write), (errors, stderr) = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
        keeper = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                process.die_with(keeper)
                os.setsid()
                os.dup2(stderr, 2)
                self._launcher.close()
                process.limit_memory(self._scene.memory, min(len(tasks), THREADS))
                run_tasks(tasks, self._scene, lambda line: _write_all(write, line))
            except BaseException:  # whatever it is, this copy of the keeper must not go on as a second keeper
                traceback.print_exc()
                os._exit(1)
            os._exit(0)  # threads that hang end here
        os.close(write)
        os.close(stderr)
        end = os.pidfd_open(pid)
        runner = _Runner(pid, read, errors, end, {task.promise.name: task for task in tasks}, time.monotonic())
        self._runners[pid] = runner
        for handle in (read, errors, end):
            os.set_blocking(handle, False)
            self._handles[handle] = runner
            self._poll.register(handle, select.POLLIN)

    def _wait(self, until: float | None) -> None:
        """Wait for one who says something or should have, at most until then."""
        deadline = min(runner.deadline() for runner in self._runners.values())
        left = (deadline if until is None else min(deadline, until)) - time.monotonic()
        ended = []
        for handle, _ in self._poll.poll(max(0.0, left) * 1000):
            if handle == self._launcher.fileno():
                raise LauncherGone
            runner = self._handles[handle]
            if handle == runner.errors:
                self._overhear(runner)
            elif not self._listen(runner) or handle == runner.end:
                ended.append(runner)
        # After the loop: those that are started then get the numbers of handles that are closed.
        for runner in {runner.pid: runner for runner in ended}.values():
            self._end(runner)
        for runner in list(self._runners.values()):
            if runner.deadline() <= time.monotonic():
                runner.is_stuck = True
                self._end(runner)

    def _overhear(self, runner: _Runner) -> None:
        """Read what a runner prints to stderr, and keep only the end."""
        with contextlib.suppress(BlockingIOError):
            chunk = os.read(runner.errors, _CHUNK)
            runner.printed = (runner.printed + chunk)[-_PRINTED_LIMIT:]
            if not chunk:
                self._close(runner.errors)

    def _listen(self, runner: _Runner) -> bool:
        """Take in what a runner says; return False when it is done, has gone, or talks nonsense."""
        try:
            chunk = os.read(runner.pipe, _CHUNK)
        except BlockingIOError:
            return True
        if not chunk:
            return False
        runner.heard = time.monotonic()
        *lines, runner.rest = (runner.rest + chunk).split(b"\n")
        try:
            for line in lines:
                data = json.loads(line)
                if "begun" in data:
                    runner.started[runner.tasks[data["begun"]].promise.name] = runner.heard
                    continue
                task = runner.tasks[data["name"]]
                self._outcomes[task.promise.name] = from_line(task, data)
                runner.finished.add(task.promise.name)
                runner.started.pop(task.promise.name, None)
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError):
            return False
        return len(runner.rest) <= _LINE_LIMIT and len(runner.finished) < len(runner.tasks)

    def _end(self, runner: _Runner) -> None:
        """Reap a runner, and see to it that its unfinished promises are run again or get an outcome."""
        unfinished = [task for name, task in runner.tasks.items() if name not in runner.finished]
        code = _reap(runner.pid, patience=1.0 if unfinished and not runner.is_stuck else 0.0)
        if self._handles.get(runner.errors) is runner:
            self._overhear(runner)
        del self._runners[runner.pid]
        for handle in (runner.pipe, runner.errors, runner.end):
            if self._handles.get(handle) is runner:  # one that was closed may by now be another runner's
                self._close(handle)
        if not unfinished:
            return
        if len(runner.tasks) == 1:
            (task,) = unfinished
            mode = self._scene.mode
            self._outcomes[task.promise.name] = hang(task, mode) if runner.is_stuck else _crash(runner, task, code)
            return
        suspects = [task for task in unfinished if task.promise.name in runner.started] or unfinished
        self._alone.extend(suspects)
        if len(suspects) < len(unfinished):
            self._start([task for task in unfinished if task not in suspects])

    def _close(self, handle: int) -> None:
        del self._handles[handle]
        self._poll.unregister(handle)
        os.close(handle)


def _crash(runner: _Runner, task: Task, code: int) -> Outcome:
    how = f"was killed by {signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
    message = f"the promise's process {how} before it had a result"
    if printed := runner.printed.decode("utf-8", "replace").strip():
        message = clean(f"{message}: {printed}", find(task.promise.file.options))
    return Outcome(result(task, PromiseStatus.ERROR, message, time.time()), None)


def _reap(pid: int, patience: float) -> int:
    """Return a child's exit code (negative: the signal); after ``patience`` seconds it and its group are killed."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        time.sleep(0.001)
    with contextlib.suppress(ProcessLookupError):  # it may not have made its group yet
        os.killpg(pid, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _write_all(pipe: int, line: bytes) -> None:
    while line:
        line = line[os.write(pipe, line) :]
