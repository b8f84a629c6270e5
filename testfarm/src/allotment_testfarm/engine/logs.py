# SPDX-License-Identifier: Apache-2.0
"""The log sink: a file for each attempt, to which test nodes append at an offset that both sides agree on.

What is acknowledged has been given to the operating system, so it outlives the engine; it is forced to the disk when
the attempt ends. After a power cut the file may be shorter than what was acknowledged: the next bytes then leave a
gap, which is answered with what there is, and the test node sends from there. Secrets are left out by the test node.
"""

import os
import threading
from dataclasses import dataclass
from pathlib import Path

from allotment.errors import RefusedError

LIMIT = 512 << 20  # bytes of one log


@dataclass(frozen=True)
class Appended:
    """How an append went."""

    acknowledged: int  # bytes that the engine has
    is_gap: bool = False  # the bytes begin beyond that and were not stored


class LogSink:
    """The logs below ``folder``; every method blocks, and appends to one log may come from several threads."""

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self._folder = folder
        self._limit = limit
        self._lock = threading.Lock()

    def append(self, log: str, offset: int, data: bytes) -> Appended:
        """Store the part of ``data`` that is new; ``offset`` is where its first byte belongs."""
        path = self._folder / log
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock, path.open("ab") as file:
            size = file.tell()
            if offset > size:
                return Appended(size, is_gap=True)
            new = memoryview(data)[size - offset :]
            if size + len(new) > self._limit:
                raise RefusedError(
                    f"the log is larger than {self._limit} bytes", "Print less, or stop sending", status=413
                )
            file.write(new)
        return Appended(size + len(new))

    def seal(self, log: str) -> int:
        """Force a log to the disk and return its size in bytes; 0 when nothing was ever sent."""
        try:
            with (self._folder / log).open("rb") as file:
                os.fsync(file.fileno())
                return os.fstat(file.fileno()).st_size
        except FileNotFoundError:
            return 0
