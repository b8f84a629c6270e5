# SPDX-License-Identifier: Apache-2.0
"""Promise: the machine's processors are not overloaded."""

import os
from dataclasses import dataclass

import psutil

from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement
from allotment_promises.sensing.limits import check_above_zero


@dataclass(frozen=True)
class Options:
    cpu_load_threshold: float = 1.5  # processes for each processor that run or wait to run or for a disk

    def __post_init__(self) -> None:
        check_above_zero(cpu_load_threshold=self.cpu_load_threshold)


class CheckServerCpuLoad(GenericPromise[Options]):
    """Passes while the load of five minutes is at most ``cpu-load-threshold`` for each processor.

    It is broken when it failed ten times in a row.

    Metrics: ``load_1``, ``load_5``, ``load_15``, over so many minutes, and ``processors``.
    """

    layer = Layer.HOST
    only = "anomaly"
    failures = 10
    window = 10

    def sense(self) -> Measurement:
        one, five, fifteen = os.getloadavg()
        count = psutil.cpu_count() or 1
        limit = self.options.cpu_load_threshold
        text = f"load of {one:.2f}, {five:.2f}, {fifteen:.2f} over 1, 5, 15 minutes on {count} processors"
        metrics = {"load_1": one, "load_5": five, "load_15": fifteen, "processors": float(count)}
        if five / count > limit:
            return Measurement.failed(f"{text}, expected at most {limit * count:g} over 5 minutes", **metrics)
        return Measurement.passed(text, **metrics)
