# SPDX-License-Identifier: Apache-2.0
"""Reading a log by bytes or by lines, whether it is still written or packed; no more is unpacked than is needed."""

import os
from bisect import bisect_right
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Self

from allotment.errors import AllotmentError
from allotment_testfarm.logs import frames, index
from allotment_testfarm.logs.index import Mark
from allotment_testfarm.logs.store import index_path, packed_path

_BLOCK = 1 << 20  # bytes of plain text read at a time
_OFFSET = attrgetter("offset")
_LINES = attrgetter("lines")


class Log:
    """A log as it is when this is made: what comes later is not seen, what is removed later is still read.

    Lines are numbered from 1; the end of the last one need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        """A log that is not there is empty."""
        self.path = path
        self._file, self.is_packed = _open(path)
        try:
            marks = index.read(index_path(path)) if self._file is not None else [index.START]
        except BaseException:
            self.close()
            raise
        self.size = marks[-1].offset  # bytes of plain text
        if self._file is not None and not self.is_packed:
            self.size = os.fstat(self._file).st_size
        self._marks = [mark for mark in marks if mark.offset <= self.size]  # after a power cut there may be more
        self._breaks: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its file; who calls this instead of using ``with`` does it once."""
        if self._file is not None:
            os.close(self._file)

    @property
    def packed_size(self) -> int:
        """How many bytes its frames have."""
        return self._marks[-1].place

    @property
    def breaks(self) -> int:
        """How many lines have ended."""
        if self._breaks is None:
            self._breaks = self.line_of(self.size) - 1
        return self._breaks

    def blocks(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from ``start`` to before ``end``, at most ``_BLOCK`` at a time."""
        end = min(end, self.size)
        if self._file is None or start >= end:
            return
        if self.is_packed:
            yield from self._unpacked(self._file, start, end)
            return
        while start < end and (block := os.pread(self._file, min(_BLOCK, end - start), start)):
            start += len(block)
            yield block

    def frames(self) -> Iterator[bytes]:
        """Yield what a packed log is on disk: a zstd file."""
        place = 0
        while self._file is not None and (block := os.pread(self._file, _BLOCK, place)):
            place += len(block)
            yield block

    def line_of(self, offset: int) -> int:
        """Return the number of the line that the byte at ``offset`` is in."""
        begin = self._marks[bisect_right(self._marks, offset, key=_OFFSET) - 1]
        return 1 + begin.lines + sum(block.count(b"\n") for block in self.blocks(begin.offset, offset))

    def start_of(self, line: int) -> int:
        """Return where a line starts; the log's end when it has no such line."""
        if line <= 1:
            return 0
        begin = self._marks[bisect_right(self._marks, line - 2, key=_LINES) - 1]
        wanted = line - 1 - begin.lines  # the line starts after so many line breaks
        place = begin.offset
        for block in self.blocks(begin.offset, self.size):
            if (count := block.count(b"\n")) >= wanted:
                return place + len(block) - len(block.split(b"\n", wanted)[-1])
            wanted -= count
            place += len(block)
        return self.size

    def _unpacked(self, file: int, start: int, end: int) -> Iterator[bytes]:
        number = bisect_right(self._marks, start, key=_OFFSET) - 1
        while start < end:
            begin, after = self._marks[number], self._marks[number + 1]
            text = self._stretch(file, begin, after)
            yield text[start - begin.offset : end - begin.offset]
            start = after.offset
            number += 1

    def _stretch(self, file: int, begin: Mark, end: Mark) -> bytes:
        try:
            text = frames.unpack(os.pread(file, end.place - begin.place, begin.place))
        except frames.FrameError:
            text = b""
        if len(text) != end.offset - begin.offset:
            raise AllotmentError(
                f"the log {packed_path(self.path)} is damaged at byte {begin.place}", "Bring it back from a backup"
            )
        return text


def _open(path: Path) -> tuple[int | None, bool]:
    """Return a descriptor, and whether it is of frames: those are whole before the plain text goes."""
    for candidate, is_packed in ((path, False), (packed_path(path), True)):
        try:
            return os.open(candidate, os.O_RDONLY | os.O_CLOEXEC), is_packed
        except FileNotFoundError:
            continue
    return None, False
