# SPDX-License-Identifier: Apache-2.0
"""How states, times and sizes are shown: one glyph, one word and one class of colour for each."""

import datetime
from dataclasses import dataclass

from allotment.terminal import NONE


@dataclass(frozen=True)
class Look:
    """A state as people see it; ``colour`` is a class of base.css."""

    glyph: str
    word: str
    colour: str


_COLOURS = {"green": ("✓", "good"), "red": ("✗", "bad"), "grey": (NONE, "off")}
_LOOKS = {
    "passed": Look("✓", "passed", "good"),
    "fixed": Look("✓", "fixed", "good"),
    "failed": Look("✗", "failed", "bad"),
    "new-failure": Look("✗", "new failure", "bad"),
    "still-failing": Look("✗", "still failing", "bad"),
    "error": Look("✗", "error", "bad"),
    "timed-out": Look("✗", "timed out", "bad"),
    "infrastructure": Look("!", "infrastructure", "warn"),
    "lost": Look("!", "lost", "warn"),
    "inconclusive": Look("!", "inconclusive", "warn"),
    "cancelled": Look(NONE, "cancelled", "off"),
    "skipped": Look(NONE, "skipped", "off"),
    "waiting": Look("○", "waiting", "wait"),
    "leased": Look("●", "running", "busy"),
}
RUNNING = _LOOKS["leased"]


def look(state: str | None, colour: str = "grey") -> Look:
    """Return how a verdict, an outcome or a job's state is shown; None is something that still runs.

    A verdict that a plugin's rule made up is shown by its own name in its ``colour`` (green, red or grey).
    """
    if state is None:
        return RUNNING
    glyph, name = _COLOURS.get(colour, _COLOURS["grey"])
    return _LOOKS.get(state) or Look(glyph, state.replace("-", " "), name)


def size(number: int | None) -> str:
    """Return bytes as ``512 B``, ``3.4 kB``, ``1.2 GB`` (decimal units); an en dash for None."""
    if number is None:
        return NONE
    value = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.5 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def moment(time: float | None, now: float) -> str:
    """Return a UTC time for people: ``04:19``, with the day unless it is today's, with the year unless it is this."""
    if time is None:
        return NONE
    then, today = _utc(time), _utc(now)
    clock = f"{then:%H:%M}"
    if then.date() == today.date():
        return clock
    day = f"{then.day} {then:%b}" if then.year == today.year else f"{then.day} {then:%b} {then.year}"
    return f"{day} {clock}"


def day(time: float) -> str:
    """Return a UTC day such as ``23 Nov``."""
    then = _utc(time)
    return f"{then.day} {then:%b}"


def iso(time: float) -> str:
    """Return a UTC time for the ``datetime`` attribute and the API's readers."""
    return _utc(time).strftime("%Y-%m-%dT%H:%M:%SZ")


def short(commit: str) -> str:
    """Return a commit hash's first ten digits, as the database layer shortens it."""
    return commit[:10]


def _utc(time: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(time, datetime.UTC)
