# SPDX-License-Identifier: Apache-2.0
"""Run a program with a time limit, bounded output, and nothing left behind."""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OUTPUT_LIMIT = 1 << 16  # bytes; of longer output the end is kept


@dataclass(frozen=True)
class CommandOutcome:
    """How a program ended; ``code`` is negative for a signal and None when the time limit ended it."""

    code: int | None
    output: str  # stdout and stderr together

    def describe(self, timeout: float) -> str:
        """Return how it ended and the end of what it printed, for people."""
        if self.code is None:
            how = f"did not end within {timeout:g} s"
        elif self.code < 0:
            how = f"was killed by {signal_name(-self.code)}"
        else:
            how = f"ended with exit code {self.code}"
        text = self.output.strip()
        return f"{how}: {text}" if text else how


def signal_name(number: int) -> str:
    """Return a signal as people know it; most real-time signals have only a number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def run_command(arguments: Sequence[str], folder: Path, timeout: float) -> CommandOutcome:
    """Run a program in ``folder``, without a shell, in a session of its own that is killed at the end.

    It gets a small environment: PATH, HOME (``folder``) and LANG. A program that can't be started is an OSError.
    """
    deadline = time.monotonic() + timeout
    process = subprocess.Popen(
        list(arguments),
        cwd=folder,
        env={"PATH": PATH, "HOME": str(folder), "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    if process.stdout is None:  # for the type checker: PIPE was asked for
        raise OSError("no pipe")
    with process.stdout as pipe:
        try:
            output, is_ended = _collect(process.pid, pipe.fileno(), deadline)
        finally:
            # Before the leader is reaped its process group can't be another's.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(5.0)
    return CommandOutcome(process.returncode if is_ended else None, output.decode("utf-8", "replace"))


def _collect(pid: int, pipe: int, deadline: float) -> tuple[bytes, bool]:
    """Read until the program has ended; return the output's end and whether it ended before ``deadline``."""
    output = b""
    os.set_blocking(pipe, False)
    end = os.pidfd_open(pid)  # a child that keeps the pipe open must not hide that the program itself has ended
    try:
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        poll.register(end, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            ready = {handle for handle, _ in poll.poll(left * 1000)}
            if pipe in ready:
                output, is_open = _read(pipe, output)
                if not is_open:
                    poll.unregister(pipe)
            if end in ready:
                return _read(pipe, output)[0], True
    finally:
        os.close(end)
    return output, False


def _read(pipe: int, output: bytes) -> tuple[bytes, bool]:
    """Return the output with what the pipe holds now, and whether the pipe is still open."""
    try:
        chunk = os.read(pipe, OUTPUT_LIMIT)
    except BlockingIOError:
        return output, True
    return (output + chunk)[-OUTPUT_LIMIT:], bool(chunk)
