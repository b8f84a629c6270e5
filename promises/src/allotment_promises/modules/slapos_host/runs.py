# SPDX-License-Identifier: Apache-2.0
"""What a module logged, run by run: JSON lines in a file of the partition's log folder, bounded in size."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any, NamedTuple

SIZE_LIMIT = 1 << 19  # bytes; beyond it the older half is dropped
LINES_LIMIT = 200  # of one run; more are dropped
MESSAGE_LIMIT = 5000  # characters; of a longer message the end is kept


class Line(NamedTuple):
    """One line that a module logged."""

    time: float  # UTC epoch, seconds
    level: str
    message: str


class Runs:
    """The runs of one module; the one that is running comes last and is written by :meth:`close`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.current: list[Line] = []

    def add(self, line: Line) -> None:
        if len(self.current) < LINES_LIMIT:
            self.current.append(line._replace(message=line.message[-MESSAGE_LIMIT:]))

    def newest(self, count: int) -> list[list[Line]]:
        """Return up to ``count`` runs that logged something, newest first."""
        found = [self.current] if self.current else []
        for text in reversed(self._read()):
            if len(found) >= count:
                break
            run = _parse(text)
            if run:
                found.append(run)
        return found[: max(count, 0)]

    def close(self) -> None:
        """Write the current run; a full disk loses it, a half line is passed over later."""
        if not self.current:
            return
        text = json.dumps([[round(line.time, 3), line.level, line.message] for line in self.current]).encode() + b"\n"
        with contextlib.suppress(OSError):
            with self.path.open("ab") as file:
                size = file.tell()
                file.write(text)
            if size > SIZE_LIMIT:
                self._compact()

    def _read(self) -> list[bytes]:
        try:
            with self.path.open("rb") as file:
                return file.read(4 * SIZE_LIMIT).splitlines()
        except OSError:
            return []

    def _compact(self) -> None:
        lines = self._read()
        temporary = self.path.with_suffix(".new")
        temporary.write_bytes(b"".join(line + b"\n" for line in lines[len(lines) // 2 :]))
        temporary.replace(self.path)


def _parse(text: bytes) -> list[Line]:
    try:
        data: Any = json.loads(text)
        return [Line(float(time), str(level), str(message)) for time, level, message in data]
    except (ValueError, TypeError, OverflowError, RecursionError):
        return []  # half a line after a full disk, or what somebody else wrote
