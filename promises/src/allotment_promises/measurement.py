# SPDX-License-Identifier: Apache-2.0
"""What a promise finds when it looks: good or bad, a line for people, and numbers with their units."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self


@dataclass(frozen=True)
class Metric:
    """A number worth a curve. Units are base: ``s``, ``B``, ``1`` for a ratio, ``1/s``, ``degC``; none: a count."""

    value: float
    unit: str = ""


@dataclass(frozen=True)
class Measurement:
    """What a promise found, or how it judges what it found; made by :meth:`passed` and :meth:`failed`."""

    is_passed: bool
    message: str  # one line for people; more than 1,000 characters are cut
    metrics: Mapping[str, Metric] = field(default_factory=dict)  # at most 20 are kept
    time: float = 0.0  # UTC epoch, seconds; the launcher sets it

    @classmethod
    def passed(cls, message: str, /, **metrics: float | Metric) -> Self:
        """Return a good measurement; ``metrics`` are numbers worth a curve, such as ``seconds=Metric(0.2, "s")``."""
        return cls(True, message, _with_units(metrics))

    @classmethod
    def failed(cls, message: str, /, **metrics: float | Metric) -> Self:
        """Return a bad measurement; the message says what was found and what was expected."""
        return cls(False, message, _with_units(metrics))


def _with_units(metrics: Mapping[str, float | Metric]) -> dict[str, Metric]:
    return {name: value if isinstance(value, Metric) else Metric(float(value)) for name, value in metrics.items()}


def in_order(measurements: Iterable[Measurement]) -> list[Measurement]:
    """Return measurements, oldest first, with times that never decrease.

    When the clock was set back, those of before seem to come from the future: they are moved to before the ones that
    followed, and keep their distances from each other.
    """
    found: list[Measurement] = []
    shift, next_time = 0.0, float("inf")
    for item in reversed(list(measurements)):
        shift = min(shift, next_time - item.time)
        next_time = item.time + shift
        found.append(replace(item, time=next_time) if shift else item)
    return found[::-1]
