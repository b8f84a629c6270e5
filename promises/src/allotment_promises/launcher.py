# SPDX-License-Identifier: Apache-2.0
"""The launcher: has a partition's promises run by a process that holds no secrets and is there only when needed."""

import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from allotment.codec import decode
from allotment.errors import AllotmentError
from allotment_promises.catalogue import Timing
from allotment_promises.result import PromiseResult, PromiseStatus

__all__ = ["Launcher", "LauncherError", "PromiseResult", "PromiseStatus", "Timing"]

# What the zygote sees of this process's environment: where programs and plugins are, nothing else.
_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONHOME", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")
_ANSWER_LIMIT = 1 << 26  # bytes
_END_SECONDS = 15.0  # that the zygote gets to end what it has started
MEMORY = 512 << 20  # bytes that the promises of one process may use, unless told otherwise
_log = logging.getLogger(__name__)


class LauncherError(AllotmentError):
    """Promises could not be run at all; what is wrong with one promise is a result, never this."""


class Launcher:
    """Runs promises; may be used by many threads at once. Close it, or use it as a context manager."""

    def __init__(self, idle: float = 60.0, limit: float = 1200.0, memory: int = MEMORY) -> None:
        self._idle = idle  # seconds without a batch after which the zygote ends; the next batch starts another
        self._limit = limit  # seconds for one batch
        self._memory = memory  # bytes that the promises of one process, and each of their children, may use
        self._problems: dict[str, str] = {}  # partition -> why its history can't be kept
        self._lock = threading.Lock()
        self._zygote: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._is_closed = False

    def run(
        self, partition: Path, mode: Literal["test", "anomaly"] = "test", names: Iterable[str] | None = None
    ) -> list[PromiseResult]:
        """Run the promises of a partition (only ``names``, if given) and return their results ordered by name.

        ``test`` judges each measurement by itself, right after a deployment; ``anomaly`` judges against the history.
        A promise that is only of the other phase is not run and has no result.
        """
        request = {"ask": "run", "mode": mode, "names": None if names is None else list(names)}
        answer = self._answer(partition, request)
        self._tell_problem(partition, str(answer.get("problem", "")))
        return [decode(PromiseResult, item) for item in answer["found"]]

    def timings(self, partition: Path) -> list[Timing]:
        """Return when the promises of a partition run, ordered by name, as its own user may read them."""
        return [decode(Timing, item) for item in self._answer(partition, {"ask": "timings"})["found"]]

    def _answer(self, partition: Path, request: Mapping[str, object]) -> Mapping[str, Any]:
        request = {**request, "partition": str(partition.absolute())}
        deadline = time.monotonic() + self._limit
        # Twice: the zygote may have ended because it was idle, just when it was asked. Promises change nothing.
        answer = self._ask(request, deadline) or self._ask(request, deadline)
        if answer is None:
            raise LauncherError("the process that runs promises ended without an answer", "Its messages are in the log")
        if "error" in answer:
            raise LauncherError(answer["error"], answer["fix"])
        return answer

    def _tell_problem(self, partition: Path, problem: str) -> None:
        """Log that a partition's history can't be kept, once and not at each batch, and when it can again."""
        name = str(partition)
        if problem == self._problems.get(name, ""):
            return
        if problem:
            self._problems[name] = problem
            _log.warning("%s: the history of promises can't be kept: %s", partition, problem)
        else:
            del self._problems[name]
            _log.info("%s: the history of promises is kept again", partition)

    def close(self) -> None:
        """End the zygote and everything that it has started; batches that run raise a :class:`LauncherError`."""
        with self._lock:
            self._is_closed = True
            for connection in self._open:
                connection.shutdown(socket.SHUT_RDWR)
            self._stop_zygote()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def zygote(self) -> int | None:
        """The zygote's pid while it runs."""
        process = self._zygote
        return process.pid if process is not None and process.poll() is None else None

    def _ask(self, request: object, deadline: float) -> Mapping[str, Any] | None:
        """Return the answer to a request, or None when the zygote went away without one."""
        connection = self._connect()
        try:
            connection.settimeout(max(0.1, deadline - time.monotonic()))
            connection.sendall(json.dumps(request).encode() + b"\n")
            data = _receive(connection, deadline)
        except TimeoutError as error:
            raise LauncherError(
                f"the promises did not end within {self._limit:g} seconds", "Look at the log"
            ) from error
        except OSError:
            data = b""
        finally:
            with self._lock:
                self._open.discard(connection)
                connection.close()
        if self._is_closed:
            raise LauncherError("the promise launcher was closed", "Start the promises again")
        answer: Mapping[str, Any] | None = json.loads(data) if data.endswith(b"\n") else None
        return answer

    def _connect(self) -> socket.socket:
        """Hand the zygote one end of a new socket pair and return the other."""
        ours, theirs = socket.socketpair()
        with self._lock, theirs:
            if self._is_closed:
                ours.close()
                raise LauncherError("the promise launcher is closed", "Make a new one")
            try:
                socket.send_fds(self._running_zygote(), [b"r"], [theirs.fileno()])
            except OSError:  # it has just ended, idle
                self._stop_zygote()
                socket.send_fds(self._running_zygote(), [b"r"], [theirs.fileno()])
            self._open.add(ours)
        return ours

    def _running_zygote(self) -> socket.socket:
        """Return the socket of a zygote that runs, starting one if need be."""
        if self._control is None or self._zygote is None or self._zygote.poll() is not None:
            self._control = self._start_zygote()
        return self._control

    def _start_zygote(self) -> socket.socket:
        self._stop_zygote()
        ours, theirs = socket.socketpair()
        arguments = (str(theirs.fileno()), str(self._idle), str(self._memory))
        with theirs:
            self._zygote = subprocess.Popen(
                [sys.executable, "-P", "-m", "allotment_promises.zygote", *arguments],
                pass_fds=(theirs.fileno(),),
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,  # Ctrl-C in a terminal reaches the agent only, which closes this
            )
        return ours

    def _stop_zygote(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._zygote is not None:
            try:
                self._zygote.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._zygote.kill()
                self._zygote.wait(_END_SECONDS)
            self._zygote = None


def _environment() -> dict[str, str]:
    found = {name: os.environ[name] for name in _KEPT if name in os.environ}
    if paths := os.environ.get("PYTHONPATH"):
        found["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in paths.split(os.pathsep))  # noqa: PTH100
    return found


def _receive(connection: socket.socket, deadline: float) -> bytes:
    """Read until the other side closes."""
    chunks: list[bytes] = []
    size = 0
    while True:
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        chunk = connection.recv(1 << 16)
        size += len(chunk)
        if not chunk or size > _ANSWER_LIMIT:
            return b"".join(chunks)
        chunks.append(chunk)
