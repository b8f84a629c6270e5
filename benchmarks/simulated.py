# SPDX-License-Identifier: Apache-2.0
"""A build on more cores than there are: from what each step of each part took here, in CPU seconds.

What configures, installs or checks is one program after the other and has one core. What makes is taken to use all
cores that are free, shared evenly with other parts that make; so it is for a build of one part after the other too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from allotment_recipes.graph.chart import Bar
from allotment_recipes.graph.schedule import Schedule

_TINY: Final = 1e-9  # seconds


@dataclass(frozen=True)
class Step:
    """One step of a part."""

    cpu: float  # seconds
    is_parallel: bool


def alone(steps: Sequence[Step], cores: int) -> float:
    """Return the seconds of a part that has all cores."""
    return sum(step.cpu / (cores if step.is_parallel else 1) for step in steps)


def critical_path(references: Mapping[str, Sequence[str]], parts: Mapping[str, Sequence[Step]], cores: int) -> float:
    """Return the seconds of the longest chain of parts that wait for each other, each with all cores."""
    seconds = {part: alone(steps, cores) for part, steps in parts.items()}
    return max(Schedule(references, seconds).remaining.values())


def simulate(
    references: Mapping[str, Sequence[str]], parts: Mapping[str, Sequence[Step]], cores: int, at_once: int
) -> list[Bar]:
    """Return when each part is at work, with at most ``at_once`` of them at the same time.

    ``references`` maps each part to those that it needs, in an order in which one after the other can be built.
    """
    schedule = Schedule(references, {part: alone(steps, cores) for part, steps in parts.items()})
    now, bars = 0.0, []
    working: dict[str, list[Step]] = {}
    began: dict[str, float] = {}
    while len(bars) < len(parts):
        for part in schedule.ready()[: at_once - len(working)]:
            schedule.begin(part)
            began[part], working[part] = now, list(parts[part])
        speeds = _speeds(working, cores)
        passed = min(steps[0].cpu / speeds[part] for part, steps in working.items())
        now += passed
        for part, steps in list(working.items()):
            steps[0] = Step(steps[0].cpu - passed * speeds[part], steps[0].is_parallel)
            while steps and steps[0].cpu <= _TINY:
                del steps[0]
            if not steps:
                del working[part]
                schedule.finish(part)
                bars.append(Bar(part, began[part], now))
    return sorted(bars, key=lambda bar: (bar.begin, bar.end))


def _speeds(working: Mapping[str, Sequence[Step]], cores: int) -> dict[str, float]:
    """Return how many CPU seconds each part gets in a second."""
    making = sum(steps[0].is_parallel for steps in working.values())
    others = min(1.0, cores / len(working))
    left = cores - others * (len(working) - making)
    return {part: left / making if steps[0].is_parallel else others for part, steps in working.items()}
