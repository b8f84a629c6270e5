# SPDX-License-Identifier: Apache-2.0
"""What every program does before it works: hold its folder, log to stderr, be ready to be stopped."""

import contextlib
import fcntl
import logging
import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from allotment.errors import AllotmentError

_STOPS = (signal.SIGTERM, signal.SIGINT)


class FolderLock:
    """Held by the one process that works in a folder; the kernel frees it when that process ends, however it ends."""

    def __init__(self, folder: Path, file: str | Path, mode: int = 0o777) -> None:
        """``file`` holds the lock, in the folder unless absolute; ``mode`` is the folder's where it has to be made."""
        self._folder = folder
        self._file = folder / file
        self._mode = mode
        self._handle = -1

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir(self._mode, parents=True, exist_ok=True)
            handle = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise AllotmentError(
                f"{error.filename} can't be opened: {error.strerror}", "Give a folder that this user may write to"
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise self._refusal() from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        self._handle = handle
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._handle)

    def holder(self) -> int | None:
        """Return the pid of the process that holds the lock, None when none does.

        It must have the file open: the pid of one that was killed may by now be anybody's.
        """
        try:
            pid = int(self._file.read_text())
            open_files = list(Path(f"/proc/{pid}/fd").iterdir())
        except (OSError, ValueError):
            return None
        for handle in open_files:
            with contextlib.suppress(OSError):  # closed meanwhile
                if handle.samefile(self._file):
                    return pid
        return None

    def _refusal(self) -> AllotmentError:
        pid = self.holder()
        if pid is None:  # it has not written its pid yet, or runs in another container
            return AllotmentError(f"{self._folder} is in use by another process", "Stop it, or give another --folder")
        return AllotmentError(
            f"{self._folder} is in use by process {pid}",
            f"Stop that process first (kill {pid}), or give another --folder",
        )


class StopSignals:
    """SIGTERM and SIGINT, which no longer end the process but are noted from now on; made in the main thread.

    They are noted in a pipe, by whichever thread the kernel interrupts: Python's own handlers run in the main thread
    only, once that does something. It may wait for ever when another one got the signal, as after SIGSTOP.
    """

    def __init__(self) -> None:
        self._noted, note = os.pipe()
        os.set_blocking(note, False)
        signal.set_wakeup_fd(note, warn_on_full_buffer=False)
        for number in _STOPS:
            signal.signal(number, lambda *_: None)

    def wait(self) -> None:
        """Return when one has come, or had come before."""
        while os.read(self._noted, 1)[0] not in _STOPS:
            pass  # another signal that has a handler


def log_to_stderr() -> None:
    """Log one line per event, with its time, to stderr; called before anything is logged."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr, force=True
    )
    for noisy in ("uvicorn.error", "alembic", "httpx2"):  # a line for each request that is sent, and the like
        logging.getLogger(noisy).setLevel(logging.WARNING)
