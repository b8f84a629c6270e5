# SPDX-License-Identifier: Apache-2.0
"""Promise: a network interface carries neither too little nor too much."""

import time
from dataclasses import dataclass

from allotment.options import OptionProblem
from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.amounts import parse_amount, show_amount, show_bytes, show_seconds
from allotment_promises.sensing.counters import growth
from allotment_promises.sensing.interfaces import counted, missing, shown
from allotment_promises.sensing.limits import check_above_zero


@dataclass(frozen=True)
class Options:
    ifname: str = ""  # network interface; empty: all together but the machine's own loop
    min_data_amount: str = "0"  # bytes that must be carried in transit-period, both ways together: like 10M
    max_data_amount: str = "0"  # bytes that may be carried in transit-period; 0: any
    transit_period: float = 600.0  # seconds

    def __post_init__(self) -> None:
        for name in ("min_data_amount", "max_data_amount"):
            if parse_amount(name.replace("_", "-"), getattr(self, name)).is_share:
                raise OptionProblem(name.replace("_", "-"), f"{getattr(self, name)!r} is a share", "Write it like 10M")
        check_above_zero(transit_period=self.transit_period)


class CheckNetworkTransit(GenericPromise[Options]):
    """Passes while ``ifname`` carries ``min-data-amount`` to ``max-data-amount`` in ``transit-period``.

    The counters of the kernel are compared with those of this promise's past: its period must be shorter than
    ``transit-period``. In its first run it knows no past and passes.

    Metrics: ``carried``, bytes since the machine has started; ``rate``, bytes a second.
    """

    layer = Layer.NETWORK
    only = "anomaly"

    def target(self) -> str:
        return self.options.ifname

    def sense(self) -> Measurement:
        options = self.options
        found = counted(options.ifname)
        if found is None:
            return Measurement.failed(missing(options.ifname))
        metrics = {"carried": Metric(found.bytes, "B")}
        past = growth(self.series("carried", options.transit_period), time.time(), found.bytes)
        if past is None:
            return Measurement.passed(
                f"{shown(options.ifname)}: not counted before, nothing to compare with", **metrics
            )
        amount, seconds = past
        metrics["rate"] = Metric(amount / seconds, "B/s")
        text = f"{shown(options.ifname)} carried {show_bytes(amount)} in {show_seconds(seconds)}"
        # the period is not always covered: after the first runs, or when the promise did not run for a while
        part = min(seconds / options.transit_period, 1.0)
        least, most = (parse_amount("", text) for text in (options.min_data_amount, options.max_data_amount))
        period = f"in {show_seconds(options.transit_period)}"
        if amount < least.value * part:
            return Measurement.failed(f"{text}, expected at least {show_amount(least)} {period}", **metrics)
        if most.value and amount > most.value:
            return Measurement.failed(f"{text}, expected at most {show_amount(most)} {period}", **metrics)
        return Measurement.passed(text, **metrics)
