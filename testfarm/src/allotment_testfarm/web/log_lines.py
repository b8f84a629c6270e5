# SPDX-License-Identifier: Apache-2.0
"""Lines of a log for a page: numbered from the log's start, painted, and never more than a page can hold."""

from dataclasses import dataclass

from markupsafe import Markup

from allotment_testfarm.logs.reader import Log
from allotment_testfarm.web.ansi import PLAIN, Style, paint, style_after

_STEP = 256 << 10  # bytes looked at in one step; of a line that is longer only the beginning is read
_LINE = 16 << 10  # bytes of a line that are painted, at most
_BEFORE = 16 << 10  # bytes in which a colour that goes on is looked for


@dataclass(frozen=True)
class LogLine:
    """A line; ``html`` is escaped and safe to show."""

    number: int
    html: Markup


@dataclass(frozen=True)
class Place:
    """The start of a line."""

    offset: int = 0  # bytes from the log's start
    line: int = 1
    style: Style = PLAIN  # in which it begins


def place_of(log: Log, line: int) -> Place:
    """Return where a line starts; colours that are still on there are found if they began not long before."""
    offset = log.start_of(line)
    before = b"".join(log.blocks(max(offset - _BEFORE, 0), offset))
    return Place(offset, line, style_after(before.decode("utf-8", "replace")))


def place_at(log: Log, offset: int) -> Place:
    """Return the start of the line that a byte is in; of the last one beyond the end."""
    return place_of(log, log.line_of(min(offset, log.size)))


def end_of(log: Log, lines: int, size: int) -> Place:
    """Return where the last ``lines`` lines start, or the last whole ones that have at most ``size`` bytes."""
    last = count(log)
    first = max(last - lines + 1, 1)
    if log.size - log.start_of(first) > size:
        first = min(log.line_of(log.size - size - 1) + 1, last)
    return place_of(log, first)


def count(log: Log) -> int:
    """Return how many lines there are; one that has not ended yet is counted."""
    return log.breaks + (log.start_of(log.breaks + 1) < log.size)


def read(log: Log, place: Place, lines: int, size: int) -> tuple[list[LogLine], Place]:
    """Return lines from ``place`` on and where the next one starts: ``lines`` at most, and about ``size`` bytes.

    A last line that has not ended yet is among them, and is the one that starts at the place returned.
    """
    found: list[LogLine] = []
    end = min(place.offset + size, log.size)
    while len(found) < lines and place.offset < end:
        more, place = _step(log, place, lines - len(found), min(_STEP, size))
        found += more
        if found[-1].number == place.line:  # it has not ended yet
            break
    return found, place


def _step(log: Log, place: Place, lines: int, size: int) -> tuple[list[LogLine], Place]:
    data = b"".join(log.blocks(place.offset, place.offset + size))
    whole, newline, rest = data.rpartition(b"\n")
    if not newline:
        return _long_line(log, place, data)
    found = []
    for text in whole.split(b"\n")[:lines]:
        html, style = _paint(text, place.style)
        found.append(LogLine(place.line, html))
        place = Place(place.offset + len(text) + 1, place.line + 1, style)
    if rest and len(found) < lines and place.offset + len(rest) == log.size:
        found.append(LogLine(place.line, _paint(rest, place.style)[0]))
    return found, place


def _long_line(log: Log, place: Place, data: bytes) -> tuple[list[LogLine], Place]:
    """Return the beginning of a line that ends somewhere behind ``data``, or has not ended yet."""
    html, style = _paint(data, place.style, is_cut=place.offset + len(data) < log.size)
    line = [LogLine(place.line, html)]
    if place.line > log.breaks:
        return line, place
    return line, Place(log.start_of(place.line + 1), place.line + 1, style)


def _paint(text: bytes, style: Style, *, is_cut: bool = False) -> tuple[Markup, Style]:
    return paint(text[:_LINE].decode("utf-8", "replace"), style, is_cut=is_cut or len(text) > _LINE)
