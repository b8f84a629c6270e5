# SPDX-License-Identifier: Apache-2.0
"""What a page shows of a log: its beginning and its end, a stretch in between on request, and what is left out."""

import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from allotment_testfarm.db.logs import AttemptLog
from allotment_testfarm.logs.reader import Log
from allotment_testfarm.web import log_lines
from allotment_testfarm.web.log_lines import LogLine, Place

HEAD = 500  # lines
TAIL = 1000  # lines
MORE = 1000  # lines that are shown on request
_HEAD_SIZE = 128 << 10  # bytes, of lines that are long
_TAIL_SIZE = 256 << 10
MORE_SIZE = 512 << 10


@dataclass(frozen=True)
class Gap:
    """Lines that are there and not shown."""

    first: int
    last: int

    @property
    def number(self) -> int:
        """How many lines."""
        return self.last - self.first + 1

    @property
    def above(self) -> int:
        """Where the stretch begins that joins the lines below the gap."""
        return max(self.last - MORE + 1, self.first)


@dataclass(frozen=True)
class LogView:
    """A log on a page; ``parts`` are lines and gaps in their order."""

    parts: tuple[Gap | tuple[LogLine, ...], ...]
    size: int  # bytes
    lines: int
    offset: int  # where what comes next begins: at the start of a line that has not ended, if there is one
    log: AttemptLog

    @property
    def api(self) -> str:
        """The address of the log's text, below which its lines are."""
        return f"/api/v1/jobs/{self.log.job}/log"

    def address(self, line: int) -> str:
        """Return the address of the page with a line in sight."""
        query = urllib.parse.urlencode({"attempt": self.log.number, "from": line})
        return f"/jobs/{self.log.job}?{query}#L{line}"


def file_of(log: AttemptLog | None, folder: Path) -> Path:
    """Return a log's file: one that is not there without an attempt, or when it would be outside of the logs."""
    folder = folder.resolve()
    path = (folder / log.path).resolve() if log else folder
    return path if path.is_relative_to(folder / "logs") else folder / "logs" / "none"


def show(of: AttemptLog | None, folder: Path, first: int | None = None, *, with_lines: bool = True) -> LogView | None:
    """Return the beginning and the end of a log, and the lines from ``first`` on; nothing of one that was removed."""
    if of is None:
        return None
    if of.removed is not None or not with_lines:
        return LogView((), 0, 0, 0, of)
    with Log(file_of(of, folder)) as log:
        parts, place = _parts(log, first)
        return LogView(parts, log.size, log_lines.count(log), place.offset, of)


def _parts(log: Log, first: int | None) -> tuple[tuple[Gap | tuple[LogLine, ...], ...], Place]:
    end = log_lines.end_of(log, TAIL, _TAIL_SIZE)
    wanted = [(Place(), HEAD, _HEAD_SIZE), (end, TAIL, _TAIL_SIZE)]
    if first is not None and first < end.line:
        wanted.insert(1, (log_lines.place_of(log, first), MORE, MORE_SIZE))
    parts: list[Gap | tuple[LogLine, ...]] = []
    place = Place()
    for begin, number, size in wanted:
        if begin.line > place.line:
            parts.append(Gap(place.line, begin.line - 1))
            place = begin
        found, place = log_lines.read(log, place, number - (place.line - begin.line), size)
        if found:
            parts.append(tuple(found))
    return tuple(parts), place
