# SPDX-License-Identifier: Apache-2.0
"""Runs a program as a child and writes what it prints, so that the log files can be opened again under it."""

import contextlib
import ctypes
import os
import select
import signal
from typing import Final, NoReturn

_PIECE: Final = 1 << 16  # bytes
_LOG_MODE: Final = 0o640
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_FORWARDED: Final = ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "ALRM", "WINCH", "CONT", "TSTP")


class LaunchError(Exception):
    """The service can't be started as it asks for."""


def become(command: list[str]) -> NoReturn:
    """Let the program take this process over."""
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise LaunchError(f"{command[0]} can't be run: {error.strerror}") from error


def say(text: str) -> None:
    """Tell whoever reads the service's errors."""
    with contextlib.suppress(OSError):
        os.write(2, os.fsencode(f"launch: {text}\n"))  # paths may hold bytes that are no text


class Log:
    """A log file that can be opened anew; what a full disk refuses is dropped and counted, the service goes on."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lost = 0  # bytes
        try:
            self.handle = self._open()
        except OSError as error:
            raise LaunchError(f"{path} can't be opened: {error.strerror}") from error

    def reopen(self) -> None:
        """Open the file that has the name now; when there can be none, go on with the one that is open."""
        try:
            handle = self._open()
        except OSError as error:
            say(f"{self._path} can't be opened again: {error.strerror}")
            return
        os.close(self.handle)
        self.handle = handle

    def write(self, data: bytes) -> None:
        """Append; a note tells how much is missing before it."""
        if self._lost and not self._write(f"\n[launch: {self._lost} bytes were lost: the disk was full]\n".encode()):
            self._lost = 0
        self._lost += self._write(data) if not self._lost else len(data)

    def _write(self, data: bytes) -> int:
        """Return how many bytes could not be written."""
        try:
            while data:
                data = data[os.write(self.handle, data) :]
        except OSError:
            pass
        return len(data)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _LOG_MODE)


class Keeper:
    """Runs the program as a child and writes what it prints, so that the files can change under it."""

    def __init__(self, command: list[str], stdout: Log | None, stderr: Log | None, reopen_on: signal.Signals) -> None:
        self._command = command
        self._logs = (stdout, stderr)
        self._reopen_on = reopen_on
        self._pid = 0
        self._pipes: dict[int, Log] = {}

    def run(self) -> NoReturn:
        """Stay until the program ends; then end as it did."""
        forwarded = {signal.Signals[f"SIG{name}"] for name in _FORWARDED}
        ours = {number for number in forwarded if signal.getsignal(number) != signal.SIG_IGN} | {self._reopen_on}
        everything = ours | {signal.SIGCHLD}
        ignored = {number for number in everything if signal.getsignal(number) == signal.SIG_IGN}
        # Blocked until the child has its own handlers: what comes in between is not lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, everything)
        woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in everything:
            signal.signal(number, _note)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._start(everything, ignored)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, everything)
        _end_as(self._serve(woken))

    def _start(self, blocked: set[signal.Signals], ignored: set[signal.Signals]) -> None:
        parent, ends = os.getpid(), self._make_pipes()
        self._pid = os.fork()
        if self._pid == 0:
            status = 1
            try:
                ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != parent:
                    os._exit(1)  # it went before the call
                for target, end in ends.items():
                    os.dup2(end, target)
                signal.set_wakeup_fd(-1)
                for number in blocked:
                    signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
                become(self._command)
            except LaunchError as error:
                say(str(error))
                status = 127
            finally:
                os._exit(status)
        for end in set(ends.values()):
            os.close(end)

    def _make_pipes(self) -> dict[int, int]:
        """Return which end of a pipe becomes which of the child's files; one file for both is one pipe."""
        ends: dict[int, int] = {}
        of_log: dict[int, int] = {}
        for target, log in enumerate(self._logs, start=1):
            if log is None:
                continue
            if id(log) not in of_log:
                reader, of_log[id(log)] = os.pipe2(os.O_CLOEXEC)
                os.set_blocking(reader, False)
                self._pipes[reader] = log
            ends[target] = of_log[id(log)]
        return ends

    def _serve(self, woken: int) -> int:
        while True:
            ready, _, _ = select.select([woken, *self._pipes], [], [])
            for pipe in ready:
                if pipe != woken:
                    self._copy(pipe)
            if woken not in ready:
                continue
            for number in os.read(woken, _PIECE):
                if number == self._reopen_on:
                    self._rotate()
                elif number != signal.SIGCHLD:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(self._pid, number)
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._drain()
                return status

    def _rotate(self) -> None:
        self._drain()  # what was printed before the signal belongs to the file before it
        for log in set(self._pipes.values()):
            log.reopen()

    def _drain(self) -> None:
        for pipe in list(self._pipes):
            for _ in range(1024):  # a child of the program may print for ever
                if not self._copy(pipe):
                    break

    def _copy(self, pipe: int) -> bool:
        """Copy a piece; False when there is none now."""
        try:
            data = os.read(pipe, _PIECE)
        except BlockingIOError:
            return False
        if data:
            self._pipes[pipe].write(data)
            return True
        os.close(pipe)
        del self._pipes[pipe]
        return False


def _note(number: int, frame: object) -> None:
    """Let the wake-up pipe tell."""


def _end_as(status: int) -> NoReturn:
    """End with the status of the program: its exit code, or the signal that killed it."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the program has left its own
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.Signals(-code)})
        os.kill(os.getpid(), -code)
    os._exit(code)
