# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from allotment_promises import GenericPromise, Measurement, Metric


class _Promise(GenericPromise[None]):
    failures = 3
    window = 5

    def sense(self) -> Measurement:
        return Measurement.passed("fine", seconds=0.5)


def _judged(history: str) -> bool:
    measurements = [Measurement(char == ".", char) for char in history]
    return _Promise(None, Path(), "name").anomaly(measurements).is_passed


@pytest.mark.parametrize(
    ("history", "is_passed"),
    [(".", True), ("F", True), ("FF", True), ("FFF", False), ("FFFF.", True), ("F..FF", False), ("FF....F", True)],
)
def test_anomaly_is_k_of_n_and_one_success_mends(history: str, is_passed: bool) -> None:
    assert _judged(history) is is_passed


def test_test_judges_the_measurement_itself() -> None:
    promise = _Promise(None, Path(), "name")
    assert promise.test(Measurement.failed("no")) == Measurement.failed("no")
    assert promise.test(promise.sense()).metrics == {"seconds": Metric(0.5)}


def test_promise_without_sense_can_not_be_made() -> None:
    with pytest.raises(TypeError, match="sense"):
        GenericPromise(None, Path(), "name")  # type: ignore[abstract]


def test_a_promise_file_may_give_other_counts() -> None:
    promise = _Promise(None, Path(), "name")
    promise.count(1, 0)
    assert not promise.anomaly([Measurement.failed("no")]).is_passed
    promise.count(7, 0)
    assert (promise.failures, promise.window) == (7, 7), "the window holds as many as are counted"
    promise.count(0, 9)
    assert (promise.failures, promise.window) == (7, 9)
    assert (_Promise.failures, _Promise.window) == (3, 5)
