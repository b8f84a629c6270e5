# SPDX-License-Identifier: Apache-2.0
"""``python -m allotment_recipes.zygote FD``: imports buildout once, then has a forked process ready for each run.

It is exec'ed, not forked, so it holds none of its parent's secrets. Lines of JSON go both ways over the socket ``FD``:
in ``{"id", "kind", "log", "timeout", ...}``, out ``{"id", "accepted": true}`` and later the run's result with ``id``
and ``seconds``. It ends when the parent closes the socket (or dies), or after ``idle`` seconds without a run.
"""

import contextlib
import ctypes
import gc
import importlib.util
import json
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from allotment_recipes.forking import forked

READ_SIZE = 1 << 16  # bytes
LOG_LIMIT = 16 << 20  # bytes: a longer log is begun anew
_GARBAGE = 20_000  # objects until garbage is looked for, which would take a tenth of a run
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class _Worker:
    """A forked process that does one run: it waits for it on ``requests`` and gives its result to ``results``."""

    pid: int
    requests: int  # our end of a pipe, as the next one
    results: int


@dataclass
class _Run:
    """A run: ``output`` collects its result until the pipe closes."""

    id: int
    pid: int
    pipe: int
    started: float
    deadline: float
    timeout: float
    output: bytearray = field(default_factory=bytearray)
    is_late: bool = False


class Zygote:
    """Serves one parent; single-threaded, because it forks."""

    def __init__(self, parent: socket.socket, idle: float) -> None:
        self._parent = parent
        self._idle = idle  # seconds
        self._runs: dict[int, _Run] = {}  # by pipe
        self._spare: _Worker | None = None  # forked before it is needed, which takes as long as a small run
        self._buffer = bytearray()
        self._selector = selectors.DefaultSelector()
        self._selector.register(parent, selectors.EVENT_READ)

    def serve(self) -> None:
        """Serve until the parent is gone or nothing was wanted for ``idle`` seconds; no run outlives this."""
        try:
            self._spare = self._forked(is_spare=True)
            while True:
                events = self._selector.select(self._patience())
                if not events and not self._runs:
                    return
                for key, _ in events:
                    if key.fileobj is self._parent:
                        if not self._receive():
                            return
                    else:
                        self._collect(self._runs[key.fd])
                self._kill_late()
        finally:
            for pid in [run.pid for run in self._runs.values()] + ([self._spare.pid] if self._spare else []):
                _kill_group(pid)

    def _patience(self) -> float:
        waiting = [run.deadline for run in self._runs.values() if not run.is_late]
        if not self._runs:
            return self._idle
        return max(0.0, min(waiting) - time.monotonic()) if waiting else 1.0

    def _receive(self) -> bool:
        data = self._parent.recv(READ_SIZE)
        if not data:
            return False
        self._buffer += data
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = bytearray(rest)
        for line in lines:
            request = json.loads(line)
            self._send({"id": request["id"], "accepted": True})
            self._start(request)
        return True

    def _start(self, request: Mapping[str, Any]) -> None:
        worker, self._spare = self._spare or self._forked(), None
        text = json.dumps(request).encode()
        try:
            _write(worker.requests, text)
        except BrokenPipeError:  # somebody killed it while it waited
            os.close(worker.results)
            os.waitpid(worker.pid, 0)
            worker = self._forked()
            _write(worker.requests, text)
        now = time.monotonic()
        run = _Run(request["id"], worker.pid, worker.results, now, now + request["timeout"], request["timeout"])
        self._runs[run.pipe] = run
        self._selector.register(run.pipe, selectors.EVENT_READ)

    def _forked(self, *, is_spare: bool = False) -> _Worker:
        (ours, results), (reader, requests) = os.pipe(), os.pipe()
        parent = os.getpid()

        def work() -> None:
            self._parent.close()
            self._selector.close()
            for handle in (ours, requests, *(run.pipe for run in self._runs.values())):
                os.close(handle)
            _wait(parent, reader, results, is_spare)

        pid = forked(work)
        os.close(results)
        os.close(reader)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.setpgid(pid, pid)  # here and in the child: whichever comes first, the group exists before it is killed
        return _Worker(pid, requests, ours)

    def _collect(self, run: _Run) -> None:
        data = os.read(run.pipe, READ_SIZE)
        if data:
            run.output += data
            return
        self._selector.unregister(run.pipe)
        os.close(run.pipe)
        del self._runs[run.pipe]
        _kill_group(run.pid)  # what the run left in the background
        seconds = time.monotonic() - run.started
        answer = None if run.is_late else _parsed(run.output)
        if answer is not None:
            self._send({**answer, "id": run.id, "seconds": seconds})  # its memory may be given back meanwhile
        _, status = os.waitpid(run.pid, 0)
        if answer is None:
            self._send({"error": _failure(run, status), "id": run.id, "seconds": seconds})
        if self._spare is None:
            self._spare = self._forked(is_spare=True)

    def _kill_late(self) -> None:
        now = time.monotonic()
        for run in self._runs.values():
            if now >= run.deadline:
                run.is_late = True
                _kill_group(run.pid)

    def _send(self, message: Mapping[str, Any]) -> None:
        self._parent.sendall(json.dumps(message).encode() + b"\n")


def _parsed(output: bytearray) -> dict[str, Any] | None:
    try:
        result: dict[str, Any] = json.loads(bytes(output))
        return result
    except ValueError:
        return None


def _failure(run: _Run, status: int) -> str:
    if run.is_late:
        return f"it took more than {run.timeout:g} s and was stopped"
    code = os.waitstatus_to_exitcode(status)
    return f"the run's process ended with {'signal' if code < 0 else 'exit code'} {abs(code)}"


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when the zygote is killed: nobody else would end it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it went before the call


def _write(pipe: int, data: bytes) -> None:
    with os.fdopen(pipe, "wb") as file:
        file.write(data)


def _wait(parent: int, requests: int, results: int, is_spare: bool) -> NoReturn:
    """Prepare the forked child, wait for its run and do it; nothing returns from here."""
    from allotment_recipes.rehearsal import rehearse

    status = 1
    try:
        _die_with_parent(parent)
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # what recipes start must not inherit our deafness
        os.umask(0o022)
        sys.argv[:] = ["buildout"]
        if is_spare:
            try:
                rehearse()
            except Exception:  # the run only takes longer; it may have been given to us already
                sys.excepthook(*sys.exc_info())
            gc.collect()
            gc.freeze()
        gc.set_threshold(_GARBAGE)
        with os.fdopen(requests, "rb") as file:
            text = file.read()
        if text:
            _work(json.loads(text), results)
        status = 0
    except Exception:  # said in the log; the parent sees the exit code
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _work(request: Mapping[str, Any], results: int) -> None:
    from allotment_recipes.runs.kinds import run

    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    if os.fstat(log).st_size > LOG_LIMIT:
        os.ftruncate(log, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    result = json.dumps(run(request["kind"], request)).encode()
    with contextlib.suppress(OSError):  # the log's disk is full, which the result tells
        sys.stdout.flush()
    _write(results, result)


def preload() -> None:
    """Import what the runs need. zc.buildout comes first: after setuptools or pip it would warn of distutils."""
    import zc.buildout.buildout  # noqa: F401

    import allotment_recipes.rehearsal
    import allotment_recipes.runs.kinds  # noqa: F401
    from allotment_recipes import aliases, base, recipe_loading
    from allotment_recipes.compiler import learn_compiler
    from allotment_recipes.distributions import took_part

    log = logging.getLogger(__name__)
    ours = [f"{owner}:{name}" for owner, name in recipe_loading.installed() if owner == "allotment-recipes"]
    for spec in ours:
        try:
            base.prepare_options(recipe_loading.loaded(recipe_loading.find("", spec)))
        except Exception as error:  # whoever asks for it is told, all others go on
            log.warning("recipe %s can't be imported: %s: %s", spec, type(error).__name__, error, exc_info=error)
    for distribution in aliases.distributions():
        aliases.table(distribution)
    took_part(ours)
    learn_compiler()
    from allotment_recipes.recipes import template

    template.environment(lambda name: None).from_string("{{ a.b | tojson }}").render(a={"b": 1})  # fills its caches
    if importlib.util.find_spec("jsonschema") is not None:
        import jsonschema  # noqa: F401
    gc.collect()
    gc.freeze()  # so that a fork's garbage collector touches none of these pages


def main() -> int:
    """Serve the socket whose number is the first argument; the second is the idle time in seconds."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, which closes the socket
    parent = socket.socket(fileno=int(sys.argv[1]))
    preload()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the parent has gone
        Zygote(parent, float(sys.argv[2])).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
