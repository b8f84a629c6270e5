# SPDX-License-Identifier: Apache-2.0
"""An attempt on one time axis: its steps, and the parts that it built; places are percent of the whole."""

from collections.abc import Iterable
from dataclasses import dataclass

from allotment.messages.job import BuiltPart, Step
from allotment.terminal import NONE, duration
from allotment_testfarm.db.attempts import AttemptDetail
from allotment_testfarm.web.look import Look, look

_CUT_SHORT = Look(NONE, "cut short", "off")  # a step that ran when its attempt ended
_BUILT = Look("✓", "built", "part")
_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 36_000, 86_400)
_MOST_TICKS = 6
_NARROWEST = 0.5  # percent: what was short is still seen


@dataclass(frozen=True)
class Bar:
    """A step or a part and its place."""

    name: str
    look: Look
    began: str  # since the attempt's start
    seconds: float
    left: float
    width: float


@dataclass(frozen=True)
class Tick:
    """A label of the axis."""

    name: str
    left: float


@dataclass(frozen=True)
class Timeline:
    """Steps, the parts that were built, and those that were in the store already."""

    steps: tuple[Bar, ...]
    parts: tuple[Bar, ...]
    reused: tuple[BuiltPart, ...]
    ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class _Axis:
    begin: float  # UTC epoch
    span: float  # seconds

    def bar(self, name: str, shown: Look, started: float, seconds: float) -> Bar:
        offset = max(started - self.begin, 0.0)
        width = min(max(100 * seconds / self.span, _NARROWEST), 100.0)
        left = min(100 * offset / self.span, 100.0 - width)
        return Bar(name, shown, f"+{duration(offset)}", seconds, round(left, 2), round(width, 2))

    def ticks(self) -> tuple[Tick, ...]:
        apart = next((step for step in _TICKS if self.span / step <= _MOST_TICKS), self.span)
        places = (number * apart for number in range(int(self.span / apart) + 1))
        return tuple(Tick(duration(place) if place else "0", round(100 * place / self.span, 2)) for place in places)


def timeline(attempt: AttemptDetail | None, now: float) -> Timeline | None:
    """Arrange an attempt; None when it has not begun a step."""
    if attempt is None or not attempt.steps:
        return None
    built = [part for part in attempt.parts if not part.is_reused]
    axis = _axis(attempt, built, now)
    return Timeline(
        steps=tuple(_step(axis, step, attempt.ended, now) for step in attempt.steps),
        parts=tuple(
            axis.bar(f"{part.name} {part.version}", _BUILT, part.started, part.seconds)
            for part in sorted(built, key=lambda part: part.started)
        ),
        reused=tuple(sorted((part for part in attempt.parts if part.is_reused), key=lambda part: part.name)),
        ticks=axis.ticks(),
    )


def _axis(attempt: AttemptDetail, built: Iterable[BuiltPart], now: float) -> _Axis:
    begin = min(attempt.started, attempt.steps[0].started)
    ends = (attempt.ended or now, *(step.ended or step.started for step in attempt.steps))
    end = max(*ends, *(part.started + part.seconds for part in built))
    return _Axis(begin, max(end - begin, 0.001))


def _step(axis: _Axis, step: Step, end: float | None, now: float) -> Bar:
    seconds = max((step.ended or end or now) - step.started, 0.0)
    shown = _CUT_SHORT if step.outcome is None and end is not None else look(step.outcome)
    return axis.bar(step.name, shown, step.started, seconds)
