# SPDX-License-Identifier: Apache-2.0
"""Reading a job's log for a page: its last lines, numbered from the file's start, with colours as classes."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from markupsafe import Markup, escape

TAIL_BYTES = 256 * 1024  # how much of a log a page shows
TAIL_LINES = 2000
LINE_LIMIT = 4000  # characters; a longer line is cut on the page, the full text has it all
_BLOCK = 1024 * 1024

# CSI and OSC sequences, then any other escape, then control characters that a page must not carry.
_COLOUR = re.compile(r"\x1b\[([0-9;]*)m")
_NOISE = re.compile(
    r"\x1b\[(?![0-9;]*m)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b(?!\[[0-9;]*m).?"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]"
)
_CLASSES = {1: "bold", **{30 + n: f"c{n}" for n in range(1, 8)}, **{90 + n: f"c{n}" for n in range(1, 8)}}


@dataclass(frozen=True)
class LogLine:
    """A line of a log; ``html`` is escaped and safe to show."""

    number: int
    html: Markup


@dataclass(frozen=True)
class LogTail:
    """The end of a log; ``is_cut`` when lines before it are left out."""

    lines: tuple[LogLine, ...]
    size: int  # bytes of the whole log
    is_cut: bool


def tail(path: Path, limit: int = TAIL_BYTES, lines: int = TAIL_LINES) -> LogTail:
    """Return the last lines of a log, at most ``limit`` bytes and ``lines`` lines; a log that is not there is empty."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            start = max(size - limit, 0)
            before = _count_lines(file, start)
            data = file.read(size - start)  # not beyond: the engine may be appending
    except FileNotFoundError:
        return LogTail((), 0, False)
    if start:  # the first line is likely half of one
        _, newline, rest = data.partition(b"\n")
        data, before = (rest, before + 1) if newline else (data, before)
    texts = data.decode("utf-8", "replace").split("\n")
    if texts[-1] == "":
        texts.pop()
    skipped = max(len(texts) - lines, 0)
    shown = texts[skipped:]
    rendered = tuple(LogLine(before + skipped + 1 + index, html) for index, html in enumerate(colour_lines(shown)))
    return LogTail(rendered, size, bool(start or skipped))


def size_of(path: Path) -> int:
    """Return a log's size in bytes; a log that is not there has none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def blocks(path: Path, offset: int, end: int) -> Iterator[bytes]:
    """Yield a log's bytes up to ``end``: one that grows meanwhile does not change the length that was announced."""
    with path.open("rb") as file:
        file.seek(offset)
        while offset < end and (block := file.read(min(_BLOCK, end - offset))):
            offset += len(block)
            yield block


def colour_lines(texts: list[str]) -> Iterator[Markup]:
    """Yield each line escaped, with terminal colours as spans; a colour goes on into the next line as in a terminal."""
    classes: frozenset[str] = frozenset()
    for text in texts:
        # A carriage return goes back to the line's start: what was there before is overwritten (progress bars).
        visible = _NOISE.sub("", text.rstrip("\r").rsplit("\r", 1)[-1])
        if len(visible) > LINE_LIMIT:
            kept = visible[:LINE_LIMIT].rpartition("\x1b")  # a colour sequence may have been cut
            start = "".join(kept) if "m" in kept[2] or not kept[1] else kept[0]
            visible = f"{start} … ({len(visible) - len(start)} more characters)"
        html, classes = _colour(visible, classes)
        yield html


def _colour(text: str, classes: frozenset[str]) -> tuple[Markup, frozenset[str]]:
    pieces = _COLOUR.split(text)
    html = Markup()
    for index, piece in enumerate(pieces):
        if index % 2:
            classes = _apply(piece, classes)
        elif piece:
            names = " ".join(sorted(classes))
            html += Markup('<span class="{}">{}</span>').format(names, piece) if names else escape(piece)
    return html, classes


def _apply(codes: str, classes: frozenset[str]) -> frozenset[str]:
    """Follow one colour sequence; 256 colours, true colours and backgrounds are ignored, their numbers skipped."""
    numbers = iter([int(code or 0) for code in codes.split(";")] if len(codes) < 40 else [0])
    for number in numbers:
        if number == 0:
            classes = frozenset()
        elif number in (38, 48):
            for _ in range({5: 1, 2: 3}.get(next(numbers, 0), 0)):
                next(numbers, 0)
        elif number in (22, 39):
            classes = frozenset(name for name in classes if (name == "bold") == (number == 39))
        elif name := _CLASSES.get(number):
            classes = frozenset({name}) | (classes if name == "bold" else classes & {"bold"})
    return classes


def _count_lines(file: BinaryIO, end: int) -> int:
    """Return how many lines end before ``end``, and leave the file there."""
    file.seek(0)
    count = 0
    left = end
    while left and (block := file.read(min(left, _BLOCK))):
        count += block.count(b"\n")
        left -= len(block)
    return count
