# SPDX-License-Identifier: Apache-2.0
"""Questions to a history: how long was it up, does it flap, since when is it broken, how did a number develop."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from allotment_promises.history.records import Point, Streak, Uptime
from allotment_promises.history.store import History
from allotment_promises.result import PromiseStatus

# Nagios Core's rule of flapping: of the newest 21 results, the changes between two, in percent of the 20 possible ones,
# the newest weighted half as much again as the oldest; its sample configuration has these limits for services.
RESULTS: Final = 21
LOW: Final = 5.0  # percent
HIGH: Final = 20.0
_LIGHT, _HEAVY = 0.8, 1.2


@dataclass(frozen=True)
class Flapping:
    """Whether a promise changes its mind too often to be believed."""

    is_flapping: bool
    percent: float  # of changes among the newest results, weighted
    changes: int  # among these results, plainly counted


def uptime(history: History, name: str, since: float, until: float) -> Uptime:
    """Return how long a promise passed and failed from ``since`` to ``until`` (UTC epoch, seconds).

    A measurement holds until the next one, when that comes within three periods; other time is not known.
    """
    found = history.uptimes(since, until, name)
    return found[0] if found else Uptime(name)


def uptimes(history: History, since: float, until: float) -> list[Uptime]:
    """Return the uptime of each promise, ordered by name."""
    return history.uptimes(since, until)


def flapping(history: History, name: str, low: float = LOW, high: float = HIGH) -> Flapping:
    """Return whether a promise flaps, by Nagios' rule: from ``high`` percent of changes on, until below ``low``."""
    states = [record.state for record in history.newest(name, 3 * RESULTS)]
    return judge_flapping(states, low, high)


def judge_flapping(states: Sequence[PromiseStatus], low: float = LOW, high: float = HIGH) -> Flapping:
    """Judge results, oldest first: with more than 21 of them, what flapped before goes on until it is calm."""
    is_flapping, percent = False, 0.0
    for end in range(min(RESULTS, len(states)), len(states) + 1):
        percent = _percent(states[max(0, end - RESULTS) : end])
        is_flapping = percent >= (low if is_flapping else high)
    newest = states[-RESULTS:]
    changes = sum(one != two for one, two in pairwise(newest))
    return Flapping(is_flapping, round(percent, 1), changes)


def changes_within(history: History, name: str, seconds: float, now: float) -> int:
    """Return how often a promise changed its state in the last ``seconds``."""
    return sum(item.is_change and item.start > now - seconds for item in history.streaks(name, now - seconds))


def broken_since(history: History, name: str) -> Streak | None:
    """Return the first failure or error since the promise last passed, with its message; None when it passes."""
    first = None
    for streak in reversed(history.streaks(name)):
        if streak.state is PromiseStatus.PASSED:
            break
        first = streak
    return first


def curve(history: History, name: str, metric: str, since: float, until: float, count: int = 200) -> list[Point]:
    """Return a metric's values from ``since`` to ``until`` in at most ``count`` points of equal length of time.

    When there are no more values than that they come as they are; older than about two days they are hours.
    """
    points = history.points(name, metric, since, until)
    if len(points) <= count:
        return points
    seconds = max((until - since) / count, 1e-3)
    groups: dict[int, list[Point]] = {}
    for point in points:
        groups.setdefault(min(int((point.time - since) / seconds), count - 1), []).append(point)
    return [_merged(since + number * seconds, seconds, group) for number, group in sorted(groups.items())]


def _merged(time: float, seconds: float, points: Sequence[Point]) -> Point:
    count = sum(item.count for item in points)
    mean = sum(item.mean * item.count for item in points) / count
    return Point(time, min(item.low for item in points), mean, max(item.high for item in points), count, seconds)


def _percent(states: Sequence[PromiseStatus]) -> float:
    """Return the weighted part of changes, of the 20 that are possible, in percent."""
    step = (_HEAVY - _LIGHT) / (RESULTS - 2)
    total = 0.0
    for age, (one, two) in enumerate(zip(states[-2::-1], states[:0:-1], strict=True)):
        total += (_HEAVY - age * step) * (one != two)
    return total / (RESULTS - 1) * 100
