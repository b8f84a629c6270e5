# SPDX-License-Identifier: Apache-2.0
"""Start Allotment's own programs as child processes, wait until each is ready, and stop all of them again."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from allotment.errors import AllotmentError

_PR_SET_PDEATHSIG = 1
_STOP_SECONDS = 20.0  # a program that has not ended by then is killed


class ProgramError(AllotmentError):
    """A program did not start, or ended when it should be running."""


class Program:
    """One running program: ``python -m module arguments``, its log beside its folder, its ready file inside it."""

    def __init__(self, name: str, module: str, arguments: Sequence[str], folder: Path, ready_name: str) -> None:
        self.name = name
        self.module = module
        self.arguments = list(arguments)
        self.folder = folder
        self.log = folder.with_name(f"{folder.name}.log")
        self._ready = folder / ready_name
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; an error when it was never started."""
        if self._process is None:
            raise ProgramError(f"{self.name} was not started")
        return self._process.pid

    def start(self) -> None:
        """Start it; call this from the main thread, because the child dies with the thread that made it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._ready.unlink(missing_ok=True)
        libc = ctypes.CDLL(None, use_errno=True)
        parent = os.getpid()

        def die_with_parent() -> None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # it died before prctl
                os._exit(1)

        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.module, *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches the parent alone, which stops them in order
                preexec_fn=die_with_parent,
            )

    def wait_ready(self, timeout: float = 60.0) -> dict[str, Any]:
        """Wait up to ``timeout`` seconds for the ready file and return what it says."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            data = self.read_ready()
            if data.get("pid") == self.pid:  # any other was left by an earlier process
                return data
            self.check()
            time.sleep(0.02)
        raise ProgramError(f"{self.name} was not ready after {timeout:g} s; its log ends:\n{self.tail()}")

    def read_ready(self) -> dict[str, Any]:
        """Return what the ready file says now; empty when there is none."""
        try:
            return dict(json.loads(self._ready.read_text()))
        except FileNotFoundError:
            return {}

    def check(self) -> None:
        """Raise when the program has ended."""
        if self._process is not None and self._process.poll() is not None:
            raise ProgramError(f"{self.name} ended with {self._process.returncode}; its log ends:\n{self.tail()}")

    def tail(self, lines: int = 15) -> str:
        """Return the last lines of the log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "(no log)"

    def kill(self) -> None:
        """SIGKILL, as a crash would: nothing is cleaned up by the program."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None  # wanted: no reason for check to complain

    def terminate(self) -> None:
        """Ask it to stop; do not wait."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def stop(self) -> None:
        """Ask it to stop and wait; kill it when it does not."""
        self.terminate()
        if self._process is None:
            return
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()


class Programs:
    """Programs that stop together, the last started first."""

    def __init__(self) -> None:
        self._programs: dict[str, Program] = {}

    def start(self, program: Program, timeout: float = 60.0) -> dict[str, Any]:
        """Start a program, wait until it is ready, return its ready file."""
        self._programs[program.name] = program
        program.start()
        return program.wait_ready(timeout)

    def __getitem__(self, name: str) -> Program:
        return self._programs[name]

    def check(self) -> None:
        """Raise when one of them has ended."""
        for program in self._programs.values():
            program.check()

    def wait(self, what: str, condition: Callable[[], Any], timeout: float, interval: float = 0.05) -> Any:
        """Call ``condition`` until it returns something true, and return that; watch the programs meanwhile."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            found = condition()
            if found:
                return found
            self.check()
            time.sleep(interval)
        raise ProgramError(f"{what} did not happen within {timeout:g} s", "Look into the programs' logs")

    def stop(self) -> None:
        """Stop each and wait for it; harmless when it has ended."""
        for program in reversed(self._programs.values()):
            program.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
