# SPDX-License-Identifier: Apache-2.0
"""What a promise type is made of: measure in ``sense``, judge in ``test`` and ``anomaly``."""

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Self, TypeVar

OptionsT = TypeVar("OptionsT")


@dataclass(frozen=True)
class Measurement:
    """What a promise found, or how it judges what it found; made by :meth:`passed` and :meth:`failed`."""

    is_passed: bool
    message: str  # one line for people; more than 1,000 characters are cut
    metrics: Mapping[str, float] = field(default_factory=dict)  # at most 20 are kept

    @classmethod
    def passed(cls, message: str, **metrics: float) -> Self:
        """Return a good measurement; ``metrics`` are numbers worth a curve, such as ``seconds=0.2``."""
        return cls(True, message, metrics)

    @classmethod
    def failed(cls, message: str, **metrics: float) -> Self:
        """Return a bad measurement; the message says what was found and what was expected."""
        return cls(False, message, metrics)


class GenericPromise(abc.ABC, Generic[OptionsT]):
    """Base of all promise types; the module of a type has its ``Options`` dataclass beside it.

    The launcher makes a new object for each run, in a process without secrets or threads of others, and calls
    ``sense`` and then ``test`` (right after a deployment) or ``anomaly`` (later, each period). An exception is a bug
    of the promise: the result is ``error``, never ``failed``.
    """

    failures: int = 2  # anomaly: this many failed measurements ...
    window: int = 3  # ... among this many newest ones; at most 20; the promise's file may say others

    def __init__(self, options: OptionsT, partition: Path, name: str) -> None:
        self.options = options
        self.partition = partition  # the instance's folder; relative paths in options start here
        self.name = name

    def count(self, failures: int, window: int) -> None:
        """Judge by other numbers than the type's; 0 leaves one as it is. Called by the launcher."""
        self.failures = failures or self.failures
        self.window = max(window or self.window, self.failures)

    @abc.abstractmethod
    def sense(self) -> Measurement:
        """Measure: collect, change nothing, print nothing, end within the options' time limit."""

    def test(self, measured: Measurement) -> Measurement:
        """Judge right after a deployment: by default what was measured is what counts."""
        return measured

    def anomaly(self, history: Sequence[Measurement]) -> Measurement:
        """Judge in operation; ``history`` ends with the new measurement, oldest first, at most ``window`` long.

        By default a promise is broken when its newest measurement and at least ``failures`` in the window failed;
        one good measurement mends it.
        """
        newest = history[-1]
        if newest.is_passed:
            return newest
        count = sum(not item.is_passed for item in history[-self.window :])
        if count >= self.failures:
            return newest
        return Measurement(
            True, f"failed {count} of {self.window} times, tolerated below {self.failures}: {newest.message}"
        )
