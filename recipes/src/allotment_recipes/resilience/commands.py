# SPDX-License-Identifier: Apache-2.0
"""Commands of a backup: they run in order, and the first that fails ends it."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from allotment.errors import AllotmentError


def run_all(commands: Iterable[str], folder: Path, seconds: float, environment: Mapping[str, str]) -> None:
    """Run lines of ``/bin/sh -e`` in ``folder``, each for at most ``seconds``."""
    for command in commands:
        run(["/bin/sh", "-e", "-c", command], command, folder, seconds, environment)


def run(
    words: Sequence[str], what: str, folder: Path, seconds: float, environment: Mapping[str, str] | None = None
) -> None:
    """Run a program; when it takes too long it is killed with all that it has started."""
    with contextlib.ExitStack() as started:
        try:
            with _postponed_end():
                # The locks that we hold go on to it: who is killed here leaves it running, and nobody else may begin
                # meanwhile.
                process = subprocess.Popen(
                    words,
                    cwd=folder,
                    env={**os.environ, **(environment or {})},
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    close_fds=False,
                )
                started.callback(_kill, process)
        except OSError as error:
            raise AllotmentError(f"{what} can't be run: {error.strerror}", "Name a program that is there") from error
        code = end_of(process, seconds)
    if code is None:
        raise AllotmentError(f"{what} did not end within {seconds:g} seconds", "Look at it, or raise timeout")
    if code:
        how = f"was killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
        raise AllotmentError(f"{what} {how}", "What it printed is in the log of cron")


def end_of(process: "subprocess.Popen[bytes]", seconds: float) -> int | None:
    """Return the exit code of the first process of a session; None: it was killed with all that it has started."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _kill(process)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def _postponed_end() -> Iterator[None]:
    """Let a SIGTERM wait: one that comes before we know what has been started would leave that running."""
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        for number in came[:1]:
            signal.raise_signal(number)
