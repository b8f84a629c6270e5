# SPDX-License-Identifier: Apache-2.0
"""What people read in a terminal, and on pages too: columns, lengths of time."""

import time
from collections.abc import Sequence

import click

NONE = "\N{EN DASH}"


def table(rows: Sequence[tuple[str, ...]], empty: str) -> None:
    """Print rows in columns, the first is the heading; ``empty`` is said when there is no other."""
    if len(rows) < 2:
        click.echo(empty)
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def duration(seconds: float | None) -> str:
    """Return ``0.4 s``, ``42 s``, ``3 min 5 s`` or ``2 h 10 min``; an en dash for None."""
    if seconds is None:
        return NONE
    seconds = max(seconds, 0.0)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


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
