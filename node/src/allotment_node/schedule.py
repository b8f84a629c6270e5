# SPDX-License-Identifier: Apache-2.0
"""When the promises of a partition are due, and how many may begin in a second."""

import math
import random
from collections.abc import Callable, Collection, Iterable
from typing import Final, Literal, Protocol

Mode = Literal["test", "anomaly"]
SLACK: Final = 0.5  # seconds by which a promise may run early, together with others that are due
NEVER: Final = float("inf")
_AGAIN: Final = 0.2  # seconds until a promise that is broken right after a deployment is tested again; then twice that
_AGAIN_MOST: Final = 3.0  # seconds


class Timing(Protocol):
    """When a promise runs; see :class:`allotment_promises.catalogue.Timing`."""

    @property
    def name(self) -> str: ...
    @property
    def period(self) -> float: ...
    @property
    def jitter(self) -> float: ...
    @property
    def only(self) -> str: ...
    @property
    def bang(self) -> bool: ...


class Schedule:
    """The due times of one partition's promises, in seconds of a clock that nobody sets.

    All run at ``begin``, then each at the multiples of its period from there: promises of one period come together,
    and what was late, because the machine was suspended for example, runs once and then at its usual times. Until
    ``settled`` promises are tested, and broken ones again at short intervals: a service needs a moment to start.
    Later they are judged by their history. One that is only a test is tested on until it passes.
    """

    def __init__(
        self, timings: Iterable[Timing], begin: float, settled: float, chance: Callable[[], float] = random.random
    ) -> None:
        self.timings = {item.name: item for item in timings}
        self._begin = begin
        self._settled = settled
        self._chance = chance
        self._tries = 0
        self._running: set[str] = set()
        self._due = {name: self._first(item) for name, item in self.timings.items()}

    def postpone(self, seconds: float) -> None:
        """Begin later, unless something has run already: then it is late once, and keeps its times."""
        if not self._tries:
            self._begin += seconds
            self._due = {name: self._first(item) for name, item in self.timings.items()}

    def is_settling(self, now: float) -> bool:
        """Whether promises may still be broken without the instance being called red."""
        return now < self._settled

    def next(self) -> float:
        """Return when the next promise is due."""
        return min(self._due.values(), default=NEVER)

    def due(self, now: float) -> dict[Mode, list[str]]:
        """Return what is due, ordered by name; if anything is, with what is due soon; never what still runs."""
        found: dict[Mode, list[str]] = {}
        for name in self._running:
            if self._due[name] <= now:
                self._due[name] = self._after(self.timings[name], now)
        if self.next() <= now:
            for name, when in sorted(self._due.items()):
                timing = self.timings[name]
                if when <= now + min(SLACK, timing.period / 4) and name not in self._running:
                    found.setdefault(self._mode(timing, now), []).append(name)
        return found

    def begun(self, names: Iterable[str], now: float) -> None:
        """Note what runs from now on."""
        self._tries += 1
        for name in names:
            self._running.add(name)
            self._due[name] = self._after(self.timings[name], max(now, self._due[name]))

    def hurry(self, names: Iterable[str], now: float) -> None:
        """Have promises run now; those that are not there any more are left out."""
        for name in names:
            if name in self._due:
                self._due[name] = min(self._due[name], now)

    def done(self, names: Iterable[str], broken: Collection[str], now: float) -> None:
        """Plan the next runs of what has run; ``now`` is when it has ended."""
        again = min(_AGAIN * 2.0 ** min(self._tries - 1, 8), _AGAIN_MOST)
        for name in names:
            timing = self.timings[name]
            self._running.discard(name)
            if name in broken and self.is_settling(now):
                self._due[name] = min(now + min(again, timing.period), self._settled)
            elif timing.only == "test" and name not in broken:
                self._due[name] = NEVER
            elif self._due[name] <= now:
                self._due[name] = self._after(timing, now)

    def _first(self, timing: Timing) -> float:
        return max(self._begin, self._settled) if timing.only == "anomaly" else self._begin

    def _mode(self, timing: Timing, now: float) -> Mode:
        return "test" if timing.only == "test" or self.is_settling(now) else "anomaly"

    def _after(self, timing: Timing, when: float) -> float:
        """Return the next multiple of the period, made later at random where the promise says so."""
        due = self._begin + math.floor((when - self._begin) / timing.period) * timing.period
        while due < when + timing.period / 1000:  # not the same one again: floats are rounded
            due += timing.period
        return due + timing.jitter * self._chance()


class Pace:
    """How fast promises begin: those of a node that are due all at once, after a start for example, are spread."""

    def __init__(self, clock: Callable[[], float], burst: float = 0.25) -> None:
        self._clock = clock
        self._burst = burst  # seconds of the rate that may begin at once
        self._free = -NEVER  # from then on nothing waits any more

    def reserve(self, count: int, rate: float) -> float:
        """Return in how many seconds ``count`` promises may begin, when ``rate`` do in a second."""
        now = self._clock()
        begin = max(self._free, now - self._burst)
        self._free = begin + count / rate
        return max(0.0, begin - now)
