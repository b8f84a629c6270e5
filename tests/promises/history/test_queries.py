# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from allotment_promises.history import History, Point, Record, Uptime
from allotment_promises.history.queries import (
    broken_since,
    changes_within,
    curve,
    flapping,
    judge_flapping,
    uptime,
    uptimes,
)
from allotment_promises.measurement import Metric
from allotment_promises.result import PromiseStatus

NOW = 1_800_000_000.0
_STATES = {".": True, "x": False, "?": None}
_STATUS = {".": PromiseStatus.PASSED, "x": PromiseStatus.FAILED, "?": PromiseStatus.ERROR}


def _write(history: History, states: str, name: str = "web") -> None:
    """Write a measurement a minute; a blank is a minute without one."""
    for number, char in enumerate(states):
        if char != " ":
            history.append_all([(name, Record(NOW + 60 * number, 0.1, _STATES[char], f"at {number}"))])


@pytest.mark.parametrize(
    ("states", "since", "until", "minutes"),
    [
        ("....", 0, 3, (3, 0, 0)),
        ("..xx.", 0, 4, (2, 2, 0)),
        ("..x?.", 0, 4, (2, 1, 1)),
        ("..xx.", 1.5, 3.5, (0.5, 1.5, 0)),
        ("..          ..", 0, 13, (2, 0, 0)),
        ("..          xx", 0, 13, (1, 1, 0)),
        ("..  xx", 0, 5, (4, 1, 0)),
        ("..", 100, 200, (0, 0, 0)),
        (".", 0, 10, (0, 0, 0)),
    ],
)
def test_uptime_counts_the_time_between_measurements_and_no_gaps(
    partition: Path, states: str, since: float, until: float, minutes: tuple[float, float, float]
) -> None:
    with History(partition) as history:
        _write(history, states)
        found = uptime(history, "web", NOW + 60 * since, NOW + 60 * until)
        assert found == Uptime("web", *(60 * item for item in minutes))
        assert uptimes(history, NOW + 60 * since, NOW + 60 * until) == [found]


def test_ratio_is_of_the_known_time() -> None:
    assert Uptime("web", 75.0, 25.0, 900.0).ratio == 0.75
    assert Uptime("web", error=900.0).ratio is None


def test_uptime_of_a_promise_without_history_is_not_known(partition: Path) -> None:
    with History(partition) as history:
        assert uptime(history, "web", 0, NOW).ratio is None
        assert uptimes(history, 0, NOW) == []


@pytest.mark.parametrize(
    ("states", "is_flapping", "percent", "changes"),
    [
        ("", False, 0.0, 0),
        (".", False, 0.0, 0),
        ("." * 21, False, 0.0, 0),
        (".x" * 10 + ".", True, 100.0, 20),
        ("?x" * 10 + "?", True, 100.0, 20),
        ("." * 20 + "x", False, 6.0, 1),
        ("x" + "." * 20, False, 4.0, 1),
        ("." * 18 + "x.x", False, 17.7, 3),
        ("." * 17 + "x.x.", True, 23.4, 4),
        ("." * 17 + "x.x." + "." * 16, True, 16.6, 4),
        ("." * 17 + "x.x." + "." * 20, False, 0.0, 0),
    ],
)
def test_flapping_weighs_newer_changes_more_and_ends_when_it_is_calm(
    states: str, is_flapping: bool, percent: float, changes: int
) -> None:
    found = judge_flapping([_STATUS[char] for char in states])
    assert (found.is_flapping, found.percent, found.changes) == (is_flapping, percent, changes)


def test_flapping_is_asked_of_the_history(partition: Path) -> None:
    with History(partition) as history:
        _write(history, "." * 30 + "x.x.x.")
        assert flapping(history, "web").is_flapping
        assert not flapping(history, "other").is_flapping
        assert changes_within(history, "web", 179.0, NOW + 35 * 60) == 3
        assert changes_within(history, "web", 86400.0, NOW + 35 * 60) == 6


@pytest.mark.parametrize(
    ("states", "first"),
    [("", None), ("..", None), ("..xx", 2), ("xx", 0), (".x.x?x", 3), (".x.xx       xx", 3), ("x.", None)],
)
def test_broken_since_is_the_first_failure_after_the_last_success(
    partition: Path, states: str, first: int | None
) -> None:
    with History(partition) as history:
        _write(history, states)
        found = broken_since(history, "web")
        assert (found and (found.start, found.message)) == (
            None if first is None else (NOW + 60 * first, f"at {first}")
        )


def test_curve_has_no_more_points_than_asked_for(partition: Path) -> None:
    with History(partition) as history:
        for number in range(90):
            history.append_all([("web", Record(NOW + number, 0, True, metrics={"load": Metric(float(number % 10))}))])
        found = curve(history, "web", "load", NOW, NOW + 90, count=9)
        assert found == [Point(NOW + 10 * number, 0.0, 4.5, 9.0, 10, 10.0) for number in range(9)]
        assert len(curve(history, "web", "load", NOW, NOW + 90, count=100)) == 90
        assert curve(history, "web", "load", NOW + 500, NOW + 600) == []
