# SPDX-License-Identifier: Apache-2.0
"""What a promise type is made of: measure in ``sense``, judge in ``test`` and ``anomaly``."""

import abc
from collections.abc import Callable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import ClassVar, Generic, Literal, TypeVar

from allotment_promises import detectors
from allotment_promises.measurement import Measurement

OptionsT = TypeVar("OptionsT")
Series = Callable[
    [str, float], Sequence[tuple[float, float]]
]  # metric, seconds back -> (UTC epoch, value), oldest first


class Layer(IntEnum):
    """How near to the machine a promise looks: of many that fail at once, the lowest layer is the likely root."""

    HOST = 0  # disk, memory, load, clock
    NETWORK = 1  # interface, packets
    NAME = 2  # DNS
    PROCESS = 3  # a service's process, a file that it needs
    PORT = 4  # something listens
    PROTOCOL = 5  # TLS, SQL, websocket
    APPLICATION = 6  # a page, a queue, a backup


class GenericPromise(abc.ABC, Generic[OptionsT]):
    """Base of all promise types; the module of a type has its ``Options`` dataclass beside it.

    The launcher makes a new object for each run, in a process without secrets or threads of others, and calls
    ``sense`` and then ``test`` (right after a deployment) or ``anomaly`` (later, each period). An exception is a bug
    of the promise: the result is ``error``, never ``failed``.
    """

    layer: ClassVar[Layer] = Layer.APPLICATION
    sensor_option: ClassVar[str] = ""  # the option that names the promise type that measures: then its layer counts
    only: ClassVar[Literal["", "test", "anomaly"]] = ""  # the one phase in which the type runs; "": in both
    period: ClassVar[float] = 60.0  # seconds between two runs; the promise's file may say another
    timeout: ClassVar[float] = 20.0  # seconds after which a run counts as failed; at most 300; the file may say another
    failures: int = 2  # anomaly: this many failed measurements ...
    window: int = 3  # ... among this many newest ones; at most 1,000; the promise's file may say others
    over: float = 0.0  # ... and not older than so many seconds; 0: however old

    def __init__(self, options: OptionsT, partition: Path, name: str) -> None:
        self.options = options
        self.partition = partition  # the instance's folder; relative paths in options start here
        self.name = name
        self.series: Series = lambda metric, seconds: ()  # what this promise measured before; set by the launcher

    def count(self, failures: int, window: int, over: float = 0.0) -> None:
        """Judge by other numbers than the type's; 0 leaves one as it is. Called by the launcher."""
        self.failures = failures or self.failures
        self.window = max(window or self.window, self.failures)
        self.over = over or self.over

    def target(self) -> str:
        """Return what is looked at: ``host:port``, a whole path, a host; promises of one target explain each other."""
        return ""

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
        return detectors.k_of_n(history, self.failures, self.window, self.over)
