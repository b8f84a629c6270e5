# SPDX-License-Identifier: Apache-2.0
"""Promise: the processors are not too hot."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import psutil

from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.amounts import show_seconds
from allotment_promises.sensing.limits import check_above_zero

_PROCESSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal")  # drivers of sensors inside of them


@dataclass(frozen=True)
class Options:
    max_spot_temp: float = 90.0  # degrees Celsius that may be measured
    max_avg_temp: float = 80.0  # degrees Celsius that may be measured on average, in operation
    avg_temp_duration: float = 600.0  # seconds over which the average is taken

    def __post_init__(self) -> None:
        check_above_zero(
            max_spot_temp=self.max_spot_temp, max_avg_temp=self.max_avg_temp, avg_temp_duration=self.avg_temp_duration
        )


class CheckCpuTemperature(GenericPromise[Options]):
    """Passes while the hottest processor has at most ``max-spot-temp`` degrees, and ``max-avg-temp`` on average.

    Where no sensor of a processor is known, the hottest of all sensors counts. Virtual machines usually have none.

    Metrics: ``temperature`` in degrees Celsius.
    """

    layer = Layer.HOST
    only = "anomaly"

    def sense(self) -> Measurement:
        chips = psutil.sensors_temperatures()
        known = [name for name in chips if name in _PROCESSORS] or list(chips)
        found = max(((item.current, name, item.label) for name in known for item in chips[name]), default=None)
        if found is None:
            return Measurement.failed("this machine has no sensor of temperature: promise it only where there is one")
        degrees, name, label = found
        text = f"{degrees:g} °C at {' '.join(filter(None, (name, label)))}"
        metric = Metric(degrees, "degC")
        if degrees > self.options.max_spot_temp:
            return Measurement.failed(f"{text}, expected at most {self.options.max_spot_temp:g} °C", temperature=metric)
        return Measurement.passed(text, temperature=metric)

    def anomaly(self, history: Sequence[Measurement]) -> Measurement:
        judged = super().anomaly(history)
        if not judged.is_passed or "temperature" not in judged.metrics:
            return judged
        past = [value for _, value in self.series("temperature", self.options.avg_temp_duration)]
        average = fmean([*past, judged.metrics["temperature"].value])
        if average <= self.options.max_avg_temp:
            return judged
        period = show_seconds(self.options.avg_temp_duration)
        found = f"{average:.1f} °C on average of {period}, expected at most {self.options.max_avg_temp:g} °C"
        return replace(judged, is_passed=False, message=f"{found}: {judged.message}")
