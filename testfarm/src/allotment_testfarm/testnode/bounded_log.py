# SPDX-License-Identifier: Apache-2.0
"""A job's output as a file of bounded size: its beginning as it comes and, if that is not all, its end.

Where a job that prints without end fails is told by its last lines, so these are kept, and what was between is said.
"""

from typing import IO

MOST = 500 << 20  # bytes that are kept as they come; with the end it is less than the engine takes
LAST = 8 << 20  # bytes of the end


class BoundedLog:
    """Writes to ``file``; call :meth:`end` after the last byte."""

    def __init__(self, file: IO[bytes], most: int = MOST, last: int = LAST) -> None:
        self._file = file
        self._room = most
        self._most = most
        self._last = last
        self._beyond = 0  # bytes
        self._end = bytearray()

    def write(self, data: bytes) -> None:
        """Keep a piece of output."""
        kept, rest = data[: self._room], data[self._room :]
        self._room -= len(kept)
        if kept:
            self._file.write(kept)
        if not rest:
            return
        if not self._beyond:
            size = f"{self._most >> 20} MiB"
            self._file.write(f"\n[the log has {size}: what follows is left out, but the end]\n".encode())
        self._beyond += len(rest)
        self._end += rest
        if len(self._end) > 2 * self._last:  # seldom, since it moves what is left
            del self._end[: -self._last]

    def end(self) -> None:
        """Write the end of what was beyond the limit, from the start of a line."""
        if not self._beyond:
            return
        end = self._end[-self._last :]
        if len(end) < self._beyond:
            end = end[end.find(b"\n") + 1 :]
        self._file.write(f"[{self._beyond - len(end):,} bytes are left out]\n".encode() + end)
