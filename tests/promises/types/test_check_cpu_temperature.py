# SPDX-License-Identifier: Apache-2.0
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement, Metric

MeasureInside = Callable[..., list[Measurement]]
# The files of a processor's and a disk's sensor, in place of this machine's
SENSORS = """
mkdir -p hwmon/hwmon0 hwmon/hwmon1
echo coretemp > hwmon/hwmon0/name
echo 'Package id 0' > hwmon/hwmon0/temp1_label
echo 71500 > hwmon/hwmon0/temp1_input
echo 'Core 0' > hwmon/hwmon0/temp2_label
echo 64000 > hwmon/hwmon0/temp2_input
echo nvme > hwmon/hwmon1/name
echo 84000 > hwmon/hwmon1/temp1_input
mount -t tmpfs tmpfs /sys
mkdir /sys/class
cp -r hwmon /sys/class/hwmon
"""


def test_hottest_processor_is_judged(measure_inside: MeasureInside) -> None:
    (good,) = measure_inside("--mount", SENSORS, "check_cpu_temperature")
    assert (good.is_passed, good.message) == (True, "71.5 °C at coretemp Package id 0")
    assert good.metrics == {"temperature": Metric(71.5, "degC")}
    (hot,) = measure_inside("--mount", SENSORS, "check_cpu_temperature", max_spot_temp=70)
    assert (hot.is_passed, hot.message) == (False, f"{good.message}, expected at most 70 °C")


def test_unknown_sensors_count_where_no_processor_has_one(measure_inside: MeasureInside) -> None:
    (found,) = measure_inside("--mount", f"{SENSORS}\nrm -r /sys/class/hwmon/hwmon0", "check_cpu_temperature")
    assert found.message == "84 °C at nvme"


def test_machine_without_sensors_fails(measure_inside: MeasureInside) -> None:
    (found,) = measure_inside("--mount", "mount -t tmpfs tmpfs /sys", "check_cpu_temperature")
    assert (found.is_passed, found.message) == (
        False,
        "this machine has no sensor of temperature: promise it only where there is one",
    )


def test_average_is_judged_in_operation(make_promise: Callable[..., GenericPromise[Any]]) -> None:
    promise = make_promise("check_cpu_temperature", max_avg_temp=80)
    newest = replace(Measurement.passed("now 82", temperature=Metric(82, "degC")), time=time.time())
    promise.series = lambda metric, seconds: (
        [(time.time() - 60, 84.0)] if (metric, seconds) == ("temperature", 600) else []
    )
    assert promise.anomaly([newest]).message == "83.0 °C on average of 10.0 min, expected at most 80 °C: now 82"
    assert not promise.anomaly([newest]).is_passed
    promise.series = lambda metric, seconds: [(time.time() - 60, 70.0)]
    assert promise.anomaly([newest]).is_passed


def test_options_are_checked_early(make_promise: Callable[..., GenericPromise[Any]]) -> None:
    with pytest.raises(OptionProblem, match="max-spot-temp: 0 is not above zero"):
        make_promise("check_cpu_temperature", max_spot_temp=0)
