# SPDX-License-Identifier: Apache-2.0
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement

Measure = Callable[..., Measurement]
MakePromise = Callable[..., GenericPromise[Any]]


def _kernel(name: str) -> int:
    """Return bytes that the kernel tells."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(name)


def test_available_memory_is_what_the_kernel_tells(measure: Measure) -> None:
    measured = measure("check_ram_usage", min_threshold_ram="1B")
    assert measured.is_passed
    assert measured.metrics["total"].value == _kernel("MemTotal")
    assert measured.metrics["available"].value == pytest.approx(_kernel("MemAvailable"), rel=0.5)
    assert measured.metrics["available"].unit == "B"


def test_too_little_memory_fails(measure: Measure) -> None:
    measured = measure("check_ram_usage", min_threshold_ram="100 %")
    assert not measured.is_passed
    assert measured.message.endswith(" of memory available, expected at least 100 %")


def test_average_is_judged_in_operation(make_promise: MakePromise) -> None:
    promise = make_promise("check_ram_usage", min_threshold_ram="0", min_avg_ram="50 %", avg_ram_period=600)
    total = _kernel("MemTotal")
    asked = []

    def past(metric: str, seconds: float) -> list[tuple[float, float]]:
        asked.append((metric, seconds))
        return [(time.time() - ago, total * 0.01) for ago in range(600, 0, -5)]

    promise.series = past
    judged = promise.anomaly([replace(promise.sense(), time=time.time())])
    assert not judged.is_passed
    assert " available on average of 10.0 min, expected at least 50 %: " in judged.message
    assert asked == [("available", 600.0)]
    promise.series = lambda metric, seconds: [(time.time() - ago, total * 0.99) for ago in range(600, 0, -5)]
    assert promise.anomaly([replace(promise.sense(), time=time.time())]).is_passed


def test_options_are_checked_early(make_promise: MakePromise) -> None:
    with pytest.raises(OptionProblem, match=r"min-threshold-ram: '500' has no unit\. Write it like 500M or 500G"):
        make_promise("check_ram_usage", min_threshold_ram=500)
