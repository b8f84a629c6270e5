# SPDX-License-Identifier: Apache-2.0
"""One log on disk, as its only writer sees it."""

import contextlib
import os
from io import FileIO
from itertools import pairwise
from pathlib import Path

from allotment_testfarm.logs import frames, index
from allotment_testfarm.logs.index import Mark


def packed_path(log: Path) -> Path:
    """Return the file of a log's frames."""
    return log.with_name(f"{log.name}.zst")


def index_path(log: Path) -> Path:
    """Return the file of a log's marks."""
    return log.with_name(f"{log.name}.idx")


class StoredLog:
    """A log by the path of its plain text, in a folder that is there; one at a time uses the methods that write."""

    def __init__(self, path: Path, stretch: int = frames.STRETCH) -> None:
        self._plain = path
        self._packed = packed_path(path)
        self._index = index_path(path)
        self._stretch = stretch  # bytes

    @property
    def is_sealed(self) -> bool:
        """Whether it is packed as a whole: nothing can be added."""
        return not self._plain.exists() and self._index.exists()

    def size(self) -> int:
        """Return how many bytes of plain text it has; 0 when nothing was ever written."""
        try:
            return self._plain.stat().st_size
        except FileNotFoundError:
            return index.read(self._index)[-1].offset

    def append(self, data: memoryview) -> None:
        """Add bytes to the plain text; after an error, such as a full disk, the first of them may be there."""
        with self._plain.open("ab", buffering=0) as file:
            _write(file, data)

    def pack(self) -> None:
        """Make frames of the stretches that are full."""
        with self._plain.open("rb") as plain:
            size = os.fstat(plain.fileno()).st_size
            self._pack(plain.fileno(), size, self._marks(size), everything=False)

    def seal(self) -> None:
        """Pack all there is, see that it is the plain text, force it to the disk, and only then remove the plain text.

        A sealed log stays as it is. After an error, such as a full disk, the plain text is still there.
        """
        try:
            with self._plain.open("rb") as plain:
                self._pack_all(plain.fileno())
        except FileNotFoundError:
            return
        if self._index.exists():  # it is not empty
            _sync(self._packed, self._index)
        self._plain.unlink()
        _sync(self._plain.parent)

    def remove(self) -> None:
        """Remove it, and its folder when that was the last in it."""
        for path in (self._plain, self._index, self._packed):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others are in it
            self._plain.parent.rmdir()

    def _pack_all(self, plain: int) -> None:
        size = os.fstat(plain).st_size
        self._pack(plain, size, self._marks(size), everything=True)
        if (proven := self._proven(plain, size))[-1].offset != size:  # a power cut, or the disk has lost something
            self._pack(plain, size, proven, everything=True)
            if self._proven(plain, size)[-1].offset != size:
                raise OSError(f"what was written to {self._packed} is not what is read from it")

    def _marks(self, size: int) -> list[Mark]:
        """Return the marks; after a power cut there may be some of bytes that are gone, which are left out."""
        return [mark for mark in index.read(self._index) if mark.offset <= size]

    def _proven(self, plain: int, size: int) -> list[Mark]:
        """Return the marks up to the first frame that does not hold its stretch of the plain text."""
        marks = self._marks(size)
        try:
            packed = self._packed.open("rb")
        except FileNotFoundError:
            return marks[:1]
        with packed:
            for number, (begin, end) in enumerate(pairwise(marks), 1):
                frame = os.pread(packed.fileno(), end.place - begin.place, begin.place)
                text = os.pread(plain, end.offset - begin.offset, begin.offset)
                if not frames.holds(frame, text) or begin.lines + text.count(b"\n") != end.lines:
                    return marks[:number]
        return marks

    def _pack(self, plain: int, size: int, marks: list[Mark], *, everything: bool) -> None:
        """Add frames after the last of ``marks``, each before its mark: a frame without one is written over."""
        last = marks[-1]
        kept = len(marks)
        while size - last.offset >= (1 if everything else self._stretch):
            text = os.pread(plain, self._stretch, last.offset)
            frame = frames.pack(text)
            handle = os.open(self._packed, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            with os.fdopen(handle, "r+b", buffering=0) as packed:
                packed.truncate(last.place)
                packed.seek(last.place)
                _write(packed, memoryview(frame))
            last = Mark(last.offset + len(text), last.lines + text.count(b"\n"), last.place + len(frame))
            index.add(self._index, kept, last)
            kept += 1


def _write(file: FileIO, data: memoryview) -> None:
    """Write all of ``data``, or as much of it as the disk takes before its error."""
    while data:
        data = data[file.write(data) :]


def _sync(*paths: Path) -> None:
    for path in paths:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
