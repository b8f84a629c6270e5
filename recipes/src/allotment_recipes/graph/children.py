# SPDX-License-Identifier: Apache-2.0
"""The forked processes in which parts are built, each with a pipe by which it says how it goes."""

import contextlib
import json
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from allotment_recipes.forking import forked
from allotment_recipes.graph.failures import Failure, describe
from allotment_recipes.graph.processes import die_with

_READ: Final = 1 << 16  # bytes


@dataclass
class Child:
    """One part at work in a process of its own."""

    part: str
    pid: int
    pipe: int  # our end
    log: Path
    began: float = field(default_factory=time.monotonic)
    ended: str = ""  # the event that its end is, if it is no ordinary one
    is_done: bool = False
    failure: Failure | None = None
    seconds: float = 0.0
    cpu: float = 0.0  # seconds, of all that it has started too
    signal: int = 0  # that has killed it
    _text: bytes = b""

    def receive(self) -> bool:
        """Take what it has written; False when it has ended, and is known how."""
        data = os.read(self.pipe, _READ)
        *lines, self._text = (self._text + data).split(b"\n")
        for line in lines:
            self._take(json.loads(line))
        if data:
            return True
        self._end()
        return False

    def is_gone(self) -> bool:
        """Whether it has ended, though what it has left behind keeps the pipe open; it is known how then."""
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return False
        while select.select([self.pipe], [], [], 0)[0]:
            if not self.receive():
                return True
        self._end()
        return True

    def _take(self, message: dict[str, Any]) -> None:
        self.ended = message.get("ended", self.ended)
        self.is_done = message.get("is_done", self.is_done)
        if "failure" in message:
            self.failure = Failure(**message["failure"])

    def _end(self) -> None:
        os.close(self.pipe)
        _, status, used = os.wait4(self.pid, 0)
        self.seconds, self.cpu = time.monotonic() - self.began, used.ru_utime + used.ru_stime
        code = os.waitstatus_to_exitcode(status)
        self.signal = max(0, -code)
        if not self.is_done and self.failure is None and not self.signal:
            self.failure = Failure(f"[{self.part}] its process ended with exit code {code}", "See its log")

    def kill(self) -> None:
        """End it at once."""
        os.kill(self.pid, signal.SIGKILL)
        os.close(self.pipe)
        os.waitpid(self.pid, 0)


def fork(part: str, log: Path, work: Callable[[], str]) -> Child:
    """Do ``work`` in a child; it returns the event that the end is, or nothing.

    What programs print goes to ``log``, what is logged to where it goes here.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    log.parent.mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    reader, writer = os.pipe()
    parent = os.getpid()

    def child() -> None:
        os.close(reader)
        die_with(parent)
        _print_to(log)
        try:
            _work(part, writer, work)
        finally:
            with contextlib.suppress(OSError):  # the log's disk is full
                sys.stdout.flush()
                sys.stderr.flush()

    try:
        pid = forked(child)
    finally:
        os.close(writer)
    return Child(part, pid, reader, log)


def _work(part: str, pipe: int, work: Callable[[], str]) -> None:
    try:
        _say(pipe, ended=work(), is_done=True)
    except Exception as error:  # a recipe may fail in any way: the parent tells it
        failure = describe(error)
        named = failure if failure.what.startswith("[") else replace(failure, what=f"[{part}] {failure.what}")
        _say(pipe, failure=asdict(named))


def _say(pipe: int, **message: Any) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(pipe, data) :]


def _print_to(log: Path) -> None:
    """Let 1 and 2 lead to the part's log, and logging go on to where it goes."""
    said = os.fdopen(os.dup(1), "w", buffering=1)
    for logger in (logging.getLogger(), logging.getLogger("zc.buildout")):
        for handler in logger.handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream in (sys.stdout, sys.stderr):
                handler.setStream(said)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    sys.stdout = sys.stderr = os.fdopen(handle, "w", buffering=1)
    for number in (1, 2):
        os.dup2(handle, number)
