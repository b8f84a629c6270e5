# SPDX-License-Identifier: Apache-2.0
"""What people read in a terminal, and on pages too: columns, lengths of time."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import click

NONE = "\N{EN DASH}"
_LAST = 253_402_300_799.0  # the end of the year 9999, as a UTC epoch
_ODD = "\N{REPLACEMENT CHARACTER}"


def plain(text: str) -> str:
    """Return a line of text that commands no terminal: without control characters, which tenants may have written."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _ODD for char in text.replace("\t", "    "))


def table(rows: Sequence[tuple[str, ...]], empty: str) -> None:
    """Print rows in columns, the first is the heading; ``empty`` is said when there is no other."""
    if len(rows) < 2:
        click.echo(empty)
        return
    rows = [tuple(map(plain, row)) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def duration(seconds: float | None) -> str:
    """Return ``0.4 s``, ``42 s``, ``3 min 5 s``, ``2 h 10 min`` or ``7 days 3 h``; an en dash for None."""
    if seconds is None:
        return NONE
    seconds = max(seconds, 0.0)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return _two(whole, 60, "min", "s")
    if seconds < 172800:
        return _two(round(seconds / 60), 60, "h", "min")
    return _two(round(seconds / 3600), 24, "days", "h")


def _two(count: int, size: int, large: str, small: str) -> str:
    """Return ``2 h 10 min``, or ``2 h``."""
    whole, rest = divmod(count, size)
    return f"{whole} {large} {rest} {small}" if rest else f"{whole} {large}"


def when(moment: float) -> str:
    """Return a UTC epoch as ``2026-11-23 04:05:06``; a tenant may have written one that no calendar has."""
    return datetime.fromtimestamp(min(max(moment, 0.0), _LAST), UTC).strftime("%Y-%m-%d %H:%M:%S")


def ago(moment: float | None, now: float | None = None) -> str:
    """Return how long ago a UTC epoch was, in one unit: ``now``, ``12 s ago``, ``3 min ago``, ``2 days ago``."""
    if moment is None:
        return "never"
    seconds = max((time.time() if now is None else now) - moment, 0.0)
    if seconds < 2:
        return "now"
    for limit, unit, length in ((60, "s", 1), (3600, "min", 60), (86400, "h", 3600)):
        if seconds < limit:
            return f"{int(seconds // length)} {unit} ago"
    days = int(seconds // 86400)
    return f"{days} day{'' if days == 1 else 's'} ago"
