# SPDX-License-Identifier: Apache-2.0
"""Promise: the machine has memory left."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import psutil

from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.amounts import parse_amount, show_amount, show_bytes, show_seconds
from allotment_promises.sensing.limits import check_above_zero


@dataclass(frozen=True)
class Options:
    min_threshold_ram: str = "5 %"  # memory that must be available: like 500M, or a share of all
    min_avg_ram: str = "0"  # memory that must be available on average, in operation; 0: whatever
    avg_ram_period: float = 3600.0  # seconds over which the average is taken

    def __post_init__(self) -> None:
        parse_amount("min-threshold-ram", self.min_threshold_ram)
        parse_amount("min-avg-ram", self.min_avg_ram)
        check_above_zero(avg_ram_period=self.avg_ram_period)


class CheckRamUsage(GenericPromise[Options]):
    """Passes while ``min-threshold-ram`` of the machine's memory can be had without swapping.

    What the kernel would give back of its caches is available.

    Metrics: ``available`` and ``total`` memory in bytes.
    """

    layer = Layer.HOST
    only = "anomaly"

    def sense(self) -> Measurement:
        found = psutil.virtual_memory()
        wanted = parse_amount("min-threshold-ram", self.options.min_threshold_ram)
        text = f"{show_bytes(found.available)} of {show_bytes(found.total)} of memory available"
        metrics = {"available": Metric(found.available, "B"), "total": Metric(found.total, "B")}
        if found.available < wanted.of(found.total):
            return Measurement.failed(f"{text}, expected at least {show_amount(wanted)}", **metrics)
        return Measurement.passed(text, **metrics)

    def anomaly(self, history: Sequence[Measurement]) -> Measurement:
        judged = super().anomaly(history)
        wanted = parse_amount("min-avg-ram", self.options.min_avg_ram)
        if not judged.is_passed or "available" not in judged.metrics:
            return judged
        past = [value for _, value in self.series("available", self.options.avg_ram_period)]
        average = fmean([*past, judged.metrics["available"].value])
        if average >= wanted.of(judged.metrics["total"].value):
            return judged
        period = show_seconds(self.options.avg_ram_period)
        found = f"{show_bytes(average)} available on average of {period}, expected at least {show_amount(wanted)}"
        return replace(judged, is_passed=False, message=f"{found}: {judged.message}")
