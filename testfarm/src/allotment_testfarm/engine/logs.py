# SPDX-License-Identifier: Apache-2.0
"""The log sink: a log for each attempt, to which test nodes append at an offset that both sides agree on.

What is acknowledged has been given to the operating system, so it outlives the engine; it is forced to the disk when
the attempt ends. After a power cut the log may be shorter than what was acknowledged: the next bytes then leave a
gap, which is answered with what there is, and the test node sends from there. Secrets are left out by the test node.
"""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from allotment.errors import RefusedError
from allotment_testfarm.logs.store import StoredLog

LIMIT = 512 << 20  # bytes of one log
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Appended:
    """How an append went."""

    acknowledged: int  # bytes that the engine has
    is_gap: bool = False  # the bytes begin beyond that and were not stored


class LogSink:
    """The logs below ``folder``; every method blocks.

    Several threads, and the engines that share a folder, may use one log at the same time: an engine ends the leases
    of another that is away, which may be back and append that very moment.
    """

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self._folder = folder
        self._limit = limit

    def append(self, log: str, offset: int, data: bytes) -> Appended:
        """Store the part of ``data`` that is new; ``offset`` is where its first byte belongs."""
        stored = StoredLog(self._folder / log)
        (self._folder / log).parent.mkdir(parents=True, exist_ok=True)
        with self._locked(log):
            size = stored.size()
            if offset > size:
                return Appended(size, is_gap=True)
            new = memoryview(data)[size - offset :]
            if size + len(new) > self._limit:
                raise RefusedError(
                    f"the log is larger than {self._limit} bytes", "Print less, or stop sending", status=413
                )
            if new and stored.is_sealed:
                raise RefusedError("the log is closed: its attempt has ended", "Stop sending", status=409)
            if new:
                stored.append(new)
                self._pack(stored, log)
        return Appended(size + len(new))

    def seal(self, log: str) -> int:
        """Close a log, force it to the disk and return its size in bytes; 0 when nothing was ever sent.

        Where there is no room to pack it, it stays as plain text, which is read all the same.
        """
        stored = StoredLog(self._folder / log)
        try:
            with self._locked(log):
                try:
                    stored.seal()
                except OSError as error:
                    _log.warning("log %s stays unpacked: %s", log, error)
                return stored.size()
        except FileNotFoundError:  # no folder: nothing was ever sent
            return 0

    def remove(self, log: str) -> None:
        """Remove a log, whether it is there or not."""
        with suppress(FileNotFoundError), self._locked(log):
            StoredLog(self._folder / log).remove()

    def _pack(self, stored: StoredLog, log: str) -> None:
        """Pack what is full; the bytes are stored already, so trouble here must not refuse them."""
        try:
            stored.pack()
        except OSError as error:
            _log.warning("log %s is not packed yet: %s", log, error)

    @contextmanager
    def _locked(self, log: str) -> Iterator[None]:
        """Hold the lock of the log's folder, which is its job's."""
        folder = os.open((self._folder / log).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)
