# SPDX-License-Identifier: Apache-2.0
"""The forked processes in which parts are built, each with a pipe by which it says how it goes."""

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NoReturn

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
    is_idle: bool = False  # it waits for another process, and has given its token back
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

    def _take(self, message: dict[str, Any]) -> None:
        self.is_idle = message.get("is_idle", self.is_idle)
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


class Voice:
    """By which a child says how it goes."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def say(self, **message: Any) -> None:
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(self._pipe, data) :]


def fork(part: str, log: Path, work: Callable[[Voice], str]) -> Child:
    """Do ``work`` in a child; it returns the event that the end is, or nothing.

    What programs print goes to ``log``, what is logged to where it goes here.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    log.parent.mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    reader, writer = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _work(part, parent, Voice(writer), log, work)
    os.close(writer)
    return Child(part, pid, reader, log)


def _work(part: str, parent: int, voice: Voice, log: Path, work: Callable[[Voice], str]) -> NoReturn:
    status = 1
    try:
        die_with(parent)
        _print_to(log)
        try:
            voice.say(ended=work(voice), is_done=True)
        except Exception as error:  # a recipe may fail in any way: the parent tells it
            failure = describe(error)
            named = failure if failure.what.startswith("[") else replace(failure, what=f"[{part}] {failure.what}")
            voice.say(failure=asdict(named))
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        try:  # the log's disk may be full, and what raises here must not go on as if it were the parent
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


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
