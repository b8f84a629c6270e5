# SPDX-License-Identifier: Apache-2.0
"""Promise: the machine does not live on its swap."""

import time
from dataclasses import dataclass

import psutil

from allotment.options import OptionProblem
from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.amounts import parse_amount, show_amount, show_bytes, show_seconds
from allotment_promises.sensing.counters import growth
from allotment_promises.sensing.limits import check_above_zero


@dataclass(frozen=True)
class Options:
    maximum_used: str = "80 %"  # swap that may be taken: like 2G, or a share of all
    maximum_rate: str = "4M"  # bytes that may be read from and written to swap each second, on average of period
    period: float = 300.0  # seconds

    def __post_init__(self) -> None:
        parse_amount("maximum-used", self.maximum_used)
        if parse_amount("maximum-rate", self.maximum_rate).is_share:
            raise OptionProblem("maximum-rate", f"{self.maximum_rate!r} is a share", "Write it like 4M")
        check_above_zero(period=self.period)


class CheckSwap(GenericPromise[Options]):
    """Passes while at most ``maximum-used`` of the swap is taken and little is moved to and fro.

    Swap that is full and left alone does little harm; what is moved to and fro slows the machine down.

    Metrics: ``used`` in bytes, ``moved``, bytes since the machine has started, ``rate``, bytes a second.
    """

    layer = Layer.HOST
    only = "anomaly"

    def sense(self) -> Measurement:
        found = psutil.swap_memory()
        moved = found.sin + found.sout
        metrics = {"used": Metric(found.used, "B"), "moved": Metric(moved, "B")}
        if not found.total:
            return Measurement.passed("the machine has no swap", **metrics)
        text = f"{show_bytes(found.used)} of {show_bytes(found.total)} of swap used"
        past = growth(self.series("moved", self.options.period), time.time(), moved)
        if past is not None:
            metrics["rate"] = Metric(past[0] / past[1], "B/s")
            text += f", {show_bytes(past[0] / past[1])}/s moved over {show_seconds(past[1])}"
        used = parse_amount("maximum-used", self.options.maximum_used)
        if found.used > used.of(found.total):
            return Measurement.failed(f"{text}, expected at most {show_amount(used)} used", **metrics)
        rate = parse_amount("maximum-rate", self.options.maximum_rate)
        if past is not None and past[0] / past[1] > rate.value:
            return Measurement.failed(f"{text}, expected at most {show_amount(rate)}/s", **metrics)
        return Measurement.passed(text, **metrics)
