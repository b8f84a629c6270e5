# SPDX-License-Identifier: Apache-2.0
"""The promises of one node as they stand, and how they came to: what a node writes for monitoring tools."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from allotment.codec import message
from allotment.messages.silences import Silence


@dataclass(frozen=True)
class MetricState:
    """A number that a promise measured."""

    value: float
    unit: str = ""  # such as s, B, 1 for a ratio, 1/s, degC; empty for a count


@dataclass(frozen=True)
class PromiseState:
    """One promise of one instance."""

    partition: str
    instance: str
    name: str
    status: str  # "passed", "failed" or "error" (a bug in the promise)
    since: float  # UTC epoch, seconds: when it took this status
    message: str
    time: float  # UTC epoch, seconds: its newest run
    seconds: float = 0.0  # that this run took
    metrics: Mapping[str, MetricState] = field(default_factory=dict)
    silence: Silence | None = None


@dataclass(frozen=True)
class PromiseChange:
    """A promise took another status; one that is new and kept has not changed."""

    partition: str
    instance: str
    promise: str
    time: float  # UTC epoch, seconds
    status: str
    before: str  # empty: it is new
    message: str


@message("promise-states", format=1)
@dataclass(frozen=True)
class PromiseStates:
    """All promises of a node's started instances: ``promises.json``."""

    node: str
    time: float  # UTC epoch, seconds: the newest run or change that is in here
    promises: tuple[PromiseState, ...] = ()  # by partition and name
    changes: tuple[PromiseChange, ...] = ()  # the newest 200, newest first
