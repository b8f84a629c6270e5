# SPDX-License-Identifier: Apache-2.0
"""The newest lines of a log, read from its end, on through the files into which it was rotated."""

import bz2
import gzip
import lzma
import os
import re
import stat
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from allotment.options import OptionProblem
from allotment_promises.sensing.log_times import LogTimes

SIZE_LIMIT = 32 << 20  # bytes that are read of a log and its rotated files
_LINE_LIMIT = 8192  # characters of a line that are looked at
_BLOCK = 1 << 16  # bytes
_SLACK = 60.0  # seconds by which lines may be out of order: several processes write to one log
_ROTATED = re.compile(r"[.-](\d{1,4}|\d{8}(-?\d{1,10})?)(\.gz|\.xz|\.bz2)?")
_Unpacked = gzip.GzipFile | lzma.LZMAFile | bz2.BZ2File
_OPENERS: dict[str, Callable[[IO[bytes]], _Unpacked]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".xz": lzma.LZMAFile,
    ".bz2": bz2.BZ2File,
}


class LogProblem(Exception):
    """A log can't be read as one; the text says why."""


class LogLines:
    """The lines of a log since a moment, but empty ones, newest first.

    With ``since`` (UTC epoch, seconds) 0 all lines of the file itself, whatever their times. What was rotated away is
    read too, compressed or not. A line that has no time belongs to the last one before it that has. Read are at most
    ``SIZE_LIMIT`` bytes; what is older is left out, and ``is_cut`` says so.
    """

    def __init__(self, path: Path, since: float) -> None:
        self.is_cut = False
        self._path = path
        self._since = since
        self._left = SIZE_LIMIT

    def __iter__(self) -> Iterator[str]:
        """Yield the lines; a log that can't be read is an OSError or a LogProblem."""
        if not self._since:
            with _open(self._path) as file:
                yield from self._backwards(file)
            return
        yield from self._recent()

    def _recent(self) -> Iterator[str]:
        times = LogTimes(time.time())
        without: list[str] = []  # lines whose time is that of the line before them
        is_dated = False
        for line in self._lines():
            moment = times.find(line)
            if moment is None:
                without.append(line)
                continue
            is_dated = True
            if moment >= self._since:
                yield from without
                yield line
            elif moment < self._since - _SLACK:
                return
            without = []
        if without and not is_dated:
            expected = "expected ISO 8601, syslog, or the form of Apache's or nginx's logs"
            raise LogProblem(f"{self._path}: no line says when it was written, {expected}")

    def _lines(self) -> Iterator[str]:
        """Yield the lines of the log and of what was rotated since, newest first."""
        seen = set()
        missing = None
        try:
            with _open(self._path) as file:
                seen.add(_identity(file))
                yield from self._backwards(file)
        except FileNotFoundError as error:
            missing = error  # between two files: only what was rotated is there
        rotated = self._rotated()
        if missing is not None and not rotated:
            raise missing
        for path in rotated:
            if self._left <= 0:
                self.is_cut = True
                return
            try:
                with _open(path) as file:
                    if _identity(file) in seen:
                        continue  # the file that was read as the log itself, renamed meanwhile
                    seen.add(_identity(file))
                    yield from self._backwards(file) if path.suffix not in _OPENERS else self._unpacked(path, file)
            except FileNotFoundError:
                continue  # rotated further or removed meanwhile

    def _rotated(self) -> list[Path]:
        """Return the rotated files that may have lines since the moment, newest first, each in one form."""
        found: dict[str, tuple[float, Path]] = {}
        with os.scandir(self._path.parent) as entries:
            for entry in entries:
                rest = entry.name.removeprefix(self._path.name)
                if rest == entry.name or not (form := _ROTATED.fullmatch(rest)):
                    continue
                path = Path(entry.path)
                number = form[1]
                try:
                    changed = entry.stat().st_mtime
                except FileNotFoundError:
                    continue
                if changed < self._since:
                    continue
                if number not in found or path.suffix not in _OPENERS:  # the plain one while it is being packed
                    found[number] = changed, path
        return [path for _, path in sorted(found.values(), key=lambda item: (-item[0], item[1]))]

    def _backwards(self, file: IO[bytes]) -> Iterator[str]:
        position = file.seek(0, os.SEEK_END)
        rest = b""  # the beginning of what was read, which may be the end of a line
        while position > 0:
            if self._left <= 0:
                self.is_cut = True
                return
            size = min(_BLOCK, position)
            position -= size
            self._left -= size
            file.seek(position)
            rest, *lines = (file.read(size) + rest[:_LINE_LIMIT]).split(b"\n")  # of a long line the beginning counts
            yield from _texts(lines)
        yield from _texts([rest])

    def _unpacked(self, path: Path, file: IO[bytes]) -> Iterator[str]:
        """Yield the lines of a compressed file; there is no way but to unpack it from its beginning."""
        chunks: deque[bytes] = deque()
        size = 0
        try:
            with _OPENERS[path.suffix](file) as unpacked:
                while chunk := unpacked.read(_BLOCK):
                    chunks.append(chunk)
                    size += len(chunk)
                    while size > self._left:
                        self.is_cut = True
                        size -= len(chunks.popleft())
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
            raise LogProblem(f"{path} can't be unpacked: {error}") from error
        self._left -= size
        lines = b"".join(chunks).split(b"\n")
        yield from _texts(lines[1:] if self.is_cut else lines)


def _open(path: Path) -> IO[bytes]:
    """Open a regular file; anything else could make the reader wait."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise LogProblem(f"{path} is not a regular file")
    return os.fdopen(handle, "rb", buffering=0)


def _identity(file: IO[bytes]) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino


def _texts(lines: list[bytes]) -> Iterator[str]:
    """Yield lines as text, the last one first; empty ones say nothing."""
    for line in reversed(lines):
        if line:
            yield line[:_LINE_LIMIT].decode("utf-8", "replace")


def compile_pattern(option: str, text: str) -> re.Pattern[str]:
    """Return an option's regular expression."""
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise OptionProblem(option, f"{text!r} is no regular expression: {error}", "See Python's module re") from error
