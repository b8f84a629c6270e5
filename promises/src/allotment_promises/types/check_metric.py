# SPDX-License-Identifier: Apache-2.0
"""Promise: a metric of any other promise type is within limits, or behaves as usual."""

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from allotment.errors import nearest
from allotment.options import OptionProblem, parse_options, rest
from allotment.plugins import load, plugins
from allotment_promises import detectors
from allotment_promises.generic import GenericPromise
from allotment_promises.measurement import Measurement
from allotment_promises.sensing.amounts import show_seconds
from allotment_promises.sensing.limits import check_above_zero, check_limits, outside

_LONGEST_PERIOD = 86400.0  # seconds; a failure that began at most so long before its time is up is seen


@dataclass(frozen=True)
class Options:
    sensor: str  # promise type that measures; its own verdict counts only when it gives no such metric
    metric: str  # which of its metrics is judged
    minimum: float | None = None  # lowest value that is good
    maximum: float | None = None  # highest value that is good
    detector: Literal["count", "sustained", "forecast", "outlier"] = "count"  # how it is judged in operation
    seconds: float = 300.0  # sustained: broken when no value was good for so many seconds
    horizon: float = 86400.0  # forecast: broken when the trend reaches minimum or maximum within so many seconds
    past: float = 86400.0  # forecast, outlier: seconds of the past that are looked at
    deviations: float = 5.0  # outlier: broken when farther from the median than so many robust standard deviations
    sensor_options: dict[str, Any] = rest("sensor-")  # sensor-<option>: an option of the sensor

    def __post_init__(self) -> None:
        check_limits(self.minimum, self.maximum, required=self.detector != "outlier")
        check_above_zero(seconds=self.seconds, horizon=self.horizon, past=self.past, deviations=self.deviations)
        _make_sensor(self, Path(), "")


class CheckMetric(GenericPromise[Options]):
    """Passes when ``metric``, as the promise type ``sensor`` measures it, is from ``minimum`` to ``maximum``.

    After a deployment that is all. In operation the ``detector`` judges: ``count`` by failed runs, as everywhere;
    ``sustained`` by how long no value was good; ``forecast`` before it is too late, by the trend; ``outlier`` by what
    was usual so far, for which no limit is needed. All but ``count`` look at this promise's own history.

    Metrics: those of the sensor.
    """

    sensor_option = "sensor"

    def __init__(self, options: Options, partition: Path, name: str) -> None:
        super().__init__(options, partition, name)
        self._sensor = _make_sensor(options, partition, name)

    def target(self) -> str:
        return self._sensor.target()

    def sense(self) -> Measurement:
        options = self.options
        self._sensor.series = self.series  # what it measured before is in this promise's history
        measured = self._sensor.sense()
        if options.metric not in measured.metrics:
            found = ", ".join(measured.metrics) or "none"
            message = f"{options.sensor} did not measure {options.metric}, but {found}: {measured.message}"
            return Measurement(False, message, measured.metrics)
        metric = measured.metrics[options.metric]
        problem = outside(metric.value, options.minimum, options.maximum)
        unit = f" {metric.unit}" if metric.unit not in ("", "1") else ""
        message = f"{options.metric} is {metric.value:g}{unit}{problem}: {measured.message}"
        return Measurement(not problem, message, measured.metrics)

    def anomaly(self, history: Sequence[Measurement]) -> Measurement:
        newest = history[-1]
        metric = newest.metrics.get(self.options.metric)
        if metric is None:
            return super().anomaly(history)
        if self.options.detector == "sustained":
            return self._sustained(newest)
        if newest.is_passed and self.options.detector == "forecast":
            return self._forecast(newest, metric.value)
        if newest.is_passed and self.options.detector == "outlier":
            return self._outlier(newest, metric.value)
        return super().anomaly(history)

    def _sustained(self, newest: Measurement) -> Measurement:
        options = self.options
        if newest.is_passed:
            return newest
        past = self.series(options.metric, options.seconds + _LONGEST_PERIOD)
        before = [
            Measurement(not outside(value, options.minimum, options.maximum), "", time=time) for time, value in past
        ]
        return detectors.sustained([*before, newest], options.seconds)

    def _forecast(self, newest: Measurement, value: float) -> Measurement:
        options = self.options
        series = [*self.series(options.metric, options.past), (newest.time, value)]
        for limit in (options.minimum, options.maximum):
            left = None if limit is None else detectors.forecast(series, limit, options.horizon)
            if left is not None:
                found = f"the trend of {options.metric} reaches {limit:g} in {show_seconds(left)}"
                expected = f"expected not within {show_seconds(options.horizon)}"
                return replace(newest, is_passed=False, message=f"{found}, {expected}: {newest.message}")
        return newest

    def _outlier(self, newest: Measurement, value: float) -> Measurement:
        options = self.options
        past = [*self.series(options.metric, options.past), (newest.time, value)]
        scores = [detectors.outlier(past, item) for _, item in past[-self.window :]]
        judged = [
            Measurement(abs(score) <= options.deviations, "", time=time)
            for score, (time, _) in zip(scores, past[-self.window :], strict=True)
        ]
        if judged[-1].is_passed:
            return newest
        found = f"{options.metric} is {scores[-1]:+.1f} deviations from its median"
        message = f"{found}, expected at most {options.deviations:g}: {newest.message}"
        judged[-1] = replace(newest, is_passed=False, message=message)
        return detectors.k_of_n(judged, self.failures, self.window, self.over)


def _make_sensor(options: Options, partition: Path, name: str) -> GenericPromise[Any]:
    """Return the promise that measures; a problem with one of its options names ours."""
    targets = _targets()
    if options.sensor not in targets:
        fix = nearest(options.sensor, tuple(targets))
        raise OptionProblem("sensor", f"unknown promise type '{options.sensor}'", fix)
    cls = load(targets[options.sensor])
    if cls is CheckMetric:
        raise OptionProblem("sensor", "check_metric itself measures nothing", "Name the promise type that does")
    try:
        parsed = parse_options(sys.modules[cls.__module__].Options, options.sensor_options)
    except OptionProblem as error:
        names = ", ".join(f"sensor-{option}" for option in error.option.split(", "))
        raise OptionProblem(names, error.problem, error.fix) from error
    made: GenericPromise[Any] = cls(parsed, partition, name)
    return made


@functools.cache
def _targets() -> dict[str, str]:
    """Return where each promise type is, by its name."""
    return {item.name: item.target for item in plugins().items("allotment_promise_types")}
