# SPDX-License-Identifier: Apache-2.0
"""What the history tells: records, streaks of one state, changes between them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from allotment_promises.measurement import Metric
from allotment_promises.result import PromiseStatus

MESSAGE_LIMIT = 200  # characters of a message that are kept


@dataclass(frozen=True)
class Record:
    """One measurement of the past."""

    time: float  # UTC epoch, seconds
    seconds: float
    is_passed: bool | None  # None: the promise itself failed to measure
    message: str = ""  # of failures and errors only; the first 200 characters
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    period: float = 60.0  # seconds after which the next one is expected

    @property
    def state(self) -> PromiseStatus:
        """What the measurement by itself says; how it is judged, with those before it, may be milder."""
        if self.is_passed is None:
            return PromiseStatus.ERROR
        return PromiseStatus.PASSED if self.is_passed else PromiseStatus.FAILED


@dataclass(frozen=True)
class Streak:
    """Measurements of one state, one after the other, without a gap of more than three periods."""

    name: str
    state: PromiseStatus
    start: float  # UTC epoch, seconds: the first measurement
    until: float  # the next streak's start, or the last measurement when a gap or nothing follows
    message: str  # of the first measurement
    before: PromiseStatus | None  # state of the streak before, None for the first; the same when there was a gap

    @property
    def is_change(self) -> bool:
        """Whether the state became another; the first streak of a promise is one when it does not pass."""
        return self.state != (self.before or PromiseStatus.PASSED)


@dataclass(frozen=True)
class Latest:
    """The newest measurement of a promise, in short."""

    name: str
    state: PromiseStatus  # of the measurement by itself
    time: float  # UTC epoch, seconds
    period: float  # seconds
    count: int  # measurements so far


@dataclass(frozen=True)
class Point:
    """A metric at one time (then the three values are one), or in the time that begins there."""

    time: float  # UTC epoch, seconds
    low: float
    mean: float
    high: float
    count: int = 1  # of measurements
    seconds: float = 0.0  # that the point stands for: 0, or an hour, or what a query asked for


@dataclass(frozen=True)
class Uptime:
    """How a promise's time is shared out among its states; what is missing in a period is not known."""

    name: str
    passed: float = 0.0  # seconds
    failed: float = 0.0
    error: float = 0.0  # seconds in which the promise itself failed: whether all was well is not known

    @property
    def known(self) -> float:
        """Seconds in which it passed or failed."""
        return self.passed + self.failed

    @property
    def ratio(self) -> float | None:
        """The part of the known time in which it passed, 0 to 1; None when nothing is known."""
        return self.passed / self.known if self.known else None
