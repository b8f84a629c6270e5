# SPDX-License-Identifier: Apache-2.0
"""The launcher: has a partition's promises run by a process that holds no secrets and is there only when needed."""

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from allotment.errors import AllotmentError
from allotment_promises import answers
from allotment_promises.catalogue import Timing
from allotment_promises.result import PromiseResult, PromiseStatus

__all__ = ["Launcher", "LauncherError", "PromiseResult", "PromiseStatus", "Timing"]

# What the zygote sees of this process's environment: where programs and plugins are, nothing else.
_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONHOME", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")
_END_SECONDS = 15.0  # that the zygote gets to end what it has started
MEMORY = 512 << 20  # bytes that the promises of one process may use, unless told otherwise
_LOGGED = 10  # warnings of one batch that are logged
_NO_ANSWER = (
    "the process that runs promises ended without an answer",
    "Look for a process of the partition's user that ended it",
)
_log = logging.getLogger(__name__)
Mode = Literal["test", "anomaly"]


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

    def run(self, partition: Path, mode: Mode = "test", names: Iterable[str] | None = None) -> list[PromiseResult]:
        """Run the promises of a partition (only ``names``, if given) and return their results ordered by name.

        ``test`` judges each measurement by itself, right after a deployment; ``anomaly`` judges against the history.
        A promise that is only of the other phase is not run and has no result.
        """
        found = [result for group in self.groups(partition, mode, names) for result in group]
        return sorted(found, key=lambda result: result.name)

    def groups(
        self, partition: Path, mode: Mode = "test", names: Iterable[str] | None = None
    ) -> Iterator[list[PromiseResult]]:
        """Run promises as :meth:`run` does, and yield results as they come: what hangs does not keep others back.

        When none has come after a moment, an empty list says that all are still awaited. It may be given up by closing
        it, and what runs is ended then.
        """
        wanted = None if names is None else list(names)
        known = None if wanted is None else frozenset(wanted)
        deadline = time.monotonic() + self._limit
        given: list[str] = []
        # Twice: the zygote may have ended because it was idle, just when it was asked. Promises change nothing.
        for _ in range(2):
            request = {"ask": "run", "mode": mode, "names": wanted, "without": given}
            with _no_nonsense(partition):
                for answer in self._ask(partition, request, deadline):
                    if not answer:
                        return
                    results = answers.results(answer, known)
                    if results:
                        self._tell_problem(partition, answers.text(answer, "problem"))
                    given.extend(result.name for result in results)
                    yield results
        raise LauncherError(*_NO_ANSWER)

    def timings(self, partition: Path) -> list[Timing]:
        """Return when the promises of a partition run, ordered by name, as its own user may read them."""
        deadline = time.monotonic() + self._limit
        for _ in range(2):  # as above
            with _no_nonsense(partition):
                found = list(self._ask(partition, {"ask": "timings"}, deadline))
                if found and not found[-1]:
                    return [item for answer in found[:-1] for item in answers.timings(answer)]
        raise LauncherError(*_NO_ANSWER)

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

    def _ask(self, partition: Path, request: Mapping[str, object], deadline: float) -> Iterator[Mapping[str, Any]]:
        """Yield the lines of the answer; the last one is empty, unless the zygote went away before."""
        request = {**request, "partition": str(partition.absolute())}
        connection = self._connect()
        logged = 0
        try:
            connection.settimeout(max(0.1, deadline - time.monotonic()))
            connection.sendall(json.dumps(request).encode() + b"\n")
            for answer in answers.lines(connection, deadline):
                if "error" in answer:
                    raise LauncherError(answers.text(answer, "error"), answers.text(answer, "fix"))
                if "log" in answer:
                    if (logged := logged + 1) <= _LOGGED:
                        _log.warning("%s", answers.text(answer, "log"))
                    continue
                yield answer
        except TimeoutError as error:
            raise LauncherError(
                f"the promises did not end within {self._limit:g} seconds", "Look at the log"
            ) from error
        except OSError:
            pass  # it has gone: there is no last line
        finally:
            with self._lock:
                self._open.discard(connection)
                connection.close()
        if self._is_closed:
            raise LauncherError("the promise launcher was closed", "Start the promises again")

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
        arguments = (str(theirs.fileno()), str(self._idle), str(self._limit), str(self._memory))
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


@contextlib.contextmanager
def _no_nonsense(partition: Path) -> Iterator[None]:
    try:
        yield
    except answers.NonsenseError as error:
        what = f"{partition}: the process that runs promises answered {error}"
        raise LauncherError(what, "Look for a process of the partition's user that meddles with it") from error
