# SPDX-License-Identifier: Apache-2.0
import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment_promises import Measurement
from allotment_promises.detectors import forecast, outlier, sustained

HOUR, DAY = 3600.0, 86400.0
values = st.floats(-1e6, 1e6)
series = st.lists(st.tuples(st.floats(0, 1e9), values), max_size=60).map(sorted)


def history(marks: str, step: float = 60.0) -> list[Measurement]:
    return [Measurement(mark == ".", mark, time=1e9 + at * step) for at, mark in enumerate(marks)]


@pytest.mark.parametrize(
    ("marks", "is_passed"),
    [("FFFFFF", False), (".FFFFFF", False), ("FFFFF", True), ("FFF.FFF", True), ("FFFFFF.", True), ("F", True)],
)
def test_sustained_wants_failures_without_a_break(marks: str, is_passed: bool) -> None:
    assert sustained(history(marks), 300.0).is_passed is is_passed


def test_sustained_says_for_how_long_it_failed() -> None:
    assert sustained(history(".FFF"), 300.0).message == "failed for 120 s, tolerated below 300 s: F"


@pytest.mark.parametrize("jump", [86400.0, -86400.0])
def test_a_jump_of_the_clock_makes_no_failure_long(jump: float) -> None:
    before, after = history(".F"), [Measurement(False, "F", time=1e9 + 60 + jump)]
    assert sustained([*before, *after], 300.0).is_passed


@given(st.lists(st.booleans(), min_size=1), st.floats(1, 1000))
def test_sustained_never_fails_after_a_good_measurement(marks: list[bool], seconds: float) -> None:
    found = sustained([Measurement(mark, "", time=at * 60.0) for at, mark in enumerate(marks)], seconds)
    streak = len(marks) - max((at + 1 for at, mark in enumerate(marks) if mark), default=0)
    assert found.is_passed or (streak >= 3 and (streak - 1) * 60.0 >= seconds)


def filling(noise: float, wild: int = 0, count: int = 144) -> list[tuple[float, float]]:
    """A disk that gains 10 GB a day, seen every ten minutes, from 50 GB on."""
    chance = random.Random(7)
    points = [(at * 600.0, 50 + 10 * at * 600 / DAY + chance.gauss(0, noise)) for at in range(count)]
    for at in chance.sample(range(count), wild):
        points[at] = (points[at][0], chance.uniform(0, 1000))
    return points


@pytest.mark.parametrize(("noise", "wild"), [(0.0, 0), (0.5, 0), (0.1, 30)])
def test_forecast_finds_when_a_limit_is_reached_through_noise_and_wild_values(noise: float, wild: int) -> None:
    found = forecast(filling(noise, wild), 100.0, 10 * DAY)
    assert found is not None
    assert found == pytest.approx(4 * DAY, rel=0.1)


def test_forecast_looks_no_further_than_told_and_only_ahead() -> None:
    points = filling(0.1)
    assert forecast(points, 100.0, 3 * DAY) is None
    assert forecast(points, 40.0, 10 * DAY) is None, "it moves away from it"
    falling = [(at, -value) for at, value in points]
    assert forecast(falling, -100.0, 10 * DAY) == pytest.approx(4 * DAY, rel=0.1)


def test_forecast_believes_no_trend_that_chance_makes() -> None:
    chance = random.Random(3)
    alarms = 0
    for _ in range(500):
        points = [(at * 60.0, 50 + chance.gauss(0, 1)) for at in range(60)]
        alarms += forecast(points, 100.0, 1000 * DAY) is not None or forecast(points, 0.0, 1000 * DAY) is not None
    assert alarms <= 2, "who looks each minute sees thousands of such series a week"


def test_forecast_does_not_conclude_days_from_minutes() -> None:
    points = [(at * 60.0, 50 + 0.001 * at) for at in range(30)]
    assert forecast(points, 80.0, 365 * DAY) is None
    assert forecast(points[:3], 50.01, DAY) is None


def test_forecast_of_a_long_series_is_quick_enough_and_the_same() -> None:
    points = [(at * 10.0, float(at)) for at in range(8640)]
    assert forecast(points, 9640.0, DAY) == pytest.approx(10010.0, rel=0.001)


@given(series, values, st.floats(1, 1e9))
def test_forecast_is_never_beyond_the_horizon_nor_in_the_past(
    points: list[tuple[float, float]], limit: float, horizon: float
) -> None:
    found = forecast(points, limit, horizon)
    assert found is None or 0 <= found <= horizon


@given(st.floats(-100, 100), st.floats(0.01, 10), st.integers(8, 40))
def test_forecast_of_a_straight_line_is_exact(start: float, slope: float, count: int) -> None:
    points = [(float(at), start + slope * at) for at in range(count)]
    newest = points[-1][1]
    assert forecast(points, newest + slope * 5, 5.5) == pytest.approx(5.0, rel=1e-6)


def test_outlier_is_measured_by_what_is_usual() -> None:
    chance = random.Random(5)
    points = [(at * 60.0, chance.gauss(100, 2)) for at in range(200)]
    assert abs(outlier(points, 101)) < 1
    assert outlier(points, 110) == pytest.approx(5, abs=0.7)
    assert outlier(points, 90) == pytest.approx(-5, abs=0.7)
    wild = [(at, 1000.0) for at, _ in points[:60]]
    assert outlier([*wild, *points[60:]], 120) > 3.5, "those of the past do not hide a new one"


def test_outlier_of_a_past_without_change_or_too_short() -> None:
    same = [(float(at), 3.0) for at in range(20)]
    assert outlier(same, 3.0) == 0
    assert outlier(same, 4.0) == math.inf
    assert outlier(same, 2.0) == -math.inf
    assert 3.5 < outlier([*same, (20.0, 5.0)], 8.0) < math.inf
    assert outlier(same[:5], 4.0) == 0


@given(st.lists(values, min_size=8, max_size=50), values, st.floats(0.1, 100), values)
def test_outlier_does_not_depend_on_the_unit(past: list[float], value: float, factor: float, shift: float) -> None:
    one = outlier([(0.0, item) for item in past], value)
    other = outlier([(0.0, item * factor + shift) for item in past], value * factor + shift)
    if statistics.median(abs(item - statistics.median(past)) for item in past) > 1:
        assert other == pytest.approx(one, rel=1e-3, abs=1e-3)
