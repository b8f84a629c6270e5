# SPDX-License-Identifier: Apache-2.0
"""The promise file: ``etc/promise/<name>.json``, written by a recipe, read by the launcher."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from allotment.codec import Json, message


class Phase(StrEnum):
    """When promises are judged: right after a deployment, or in operation by their history."""

    BOTH = ""
    TEST = "test"
    ANOMALY = "anomaly"


@message("promise", format=1)
@dataclass(frozen=True)
class PromiseFile:
    """Which check to make, with which options, and how often."""

    type: str  # name of a promise type
    options: Mapping[str, Json] = field(default_factory=dict)
    period: float = 0.0  # seconds between two runs; 0: as the promise type says
    timeout: float = 0.0  # seconds after which a run counts as failed; 0: as the promise type says
    failures: int = 0  # in operation it is broken when this many runs failed ...; 0: as the promise type says
    window: int = 0  # ... among this many newest ones; 0: as the promise type says
    over: float = 0.0  # ... that are not older than so many seconds; 0: as the promise type says
    jitter: float = 0.0  # seconds by which each run may come later than its time, at random
    only: Phase = Phase.BOTH  # the one phase in which it runs, "test" or "anomaly"; empty: both
    bang: bool = False  # whether the instance is processed again when the promise breaks in operation
    after: tuple[str, ...] = ()  # promises of the partition that explain this one's failure when they fail too

    def __post_init__(self) -> None:
        if min(self.period, self.timeout, self.over, self.jitter) < 0:
            raise ValueError("period, timeout, over and jitter are seconds, zero or above")
