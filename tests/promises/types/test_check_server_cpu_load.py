# SPDX-License-Identifier: Apache-2.0
import os
from collections.abc import Callable
from typing import Any

import pytest

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement


def test_load_of_this_machine_is_measured(make_promise: Callable[..., GenericPromise[Any]]) -> None:
    measured = make_promise("check_server_cpu_load", cpu_load_threshold=1000).sense()
    assert measured.is_passed
    assert measured.metrics["load_5"].value == pytest.approx(os.getloadavg()[1], abs=0.5)


def test_threshold_is_for_each_processor(make_promise: Callable[..., GenericPromise[Any]]) -> None:
    promise = make_promise("check_server_cpu_load", cpu_load_threshold=1e-9)
    measured = promise.sense()
    count = os.cpu_count() or 1
    assert not measured.is_passed
    assert measured.message.endswith(f"on {count} processors, expected at most {1e-9 * count:g} over 5 minutes")


def test_a_short_peak_is_tolerated(make_promise: Callable[..., GenericPromise[Any]]) -> None:
    promise = make_promise("check_server_cpu_load")
    good, bad = Measurement.passed("fine"), Measurement.failed("load")
    assert promise.anomaly([good, *[bad] * 9]).is_passed
    assert not promise.anomaly([bad] * 10).is_passed


def test_options_are_checked_early(make_promise: Callable[..., GenericPromise[Any]]) -> None:
    with pytest.raises(OptionProblem, match="cpu-load-threshold: 0 is not above zero"):
        make_promise("check_server_cpu_load", cpu_load_threshold=0)
