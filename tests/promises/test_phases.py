# SPDX-License-Identifier: Apache-2.0
"""What type and file say of a promise: its phase, how it is judged by its history, what it is about."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from allotment_promises import Layer, Measurement
from allotment_promises.history import History, Record
from allotment_promises.launcher import Launcher, Timing
from allotment_promises.measurement import in_order

Write = Callable[..., Path]
HOUR = 3600.0


def _statuses(launcher: Launcher, partition: Path, mode: str = "anomaly") -> dict[str, str]:
    return {result.name: str(result.status) for result in launcher.run(partition, mode)}  # type: ignore[arg-type]


def _remember(partition: Path, name: str, ages: Sequence[float], *, is_passed: bool = False) -> None:
    """Write measurements that are so many seconds old, the oldest first."""
    now = time.time()
    with History(partition) as history:
        history.append_all([(name, Record(now - age, 0.1, is_passed, "bad")) for age in ages])


@pytest.fixture
def bad(tmp_path: Path) -> str:
    (tmp_path / "state").write_text("bad")
    return str(tmp_path / "state")


def test_a_promise_of_one_phase_is_not_run_in_the_other(launcher: Launcher, partition: Path, executable: Write) -> None:
    executable("both", "#!/bin/sh\necho > both-ran\n")
    options = '{"format": 1, "type": "check_command_execute", "options": {"command": ["touch", "ran"]}, "only": "%s"}'
    for only in ("test", "anomaly"):
        (partition / f"etc/promise/{only}.json").write_text(options % only)
    for mode in ("test", "anomaly"):
        assert _statuses(launcher, partition, mode) == {"both": "passed", mode: "passed"}
    with History(partition) as history:
        assert {name: len(history.newest(name, 9)) for name in ("both", "test", "anomaly")} == {
            "both": 2,
            "test": 1,
            "anomaly": 1,
        }


def test_the_file_comes_before_the_type(launcher: Launcher, partition: Path, promise: Write) -> None:
    promise("as-type", "only_test", how="no_measurement")
    promise("as-file", "only_test", how="no_measurement", fields={"only": "anomaly"})
    assert list(_statuses(launcher, partition, "test")) == ["as-type"]
    assert list(_statuses(launcher, partition, "anomaly")) == ["as-file"]


def test_timings_are_read_without_running_anything(launcher: Launcher, partition: Path, promise: Write) -> None:
    promise("a", "only_test", how="crash", fields={"period": 5.0, "jitter": 2.0, "bang": True})
    promise("b", how="crash", fields={"only": "anomaly"})
    (partition / "etc/promise/c.json").write_text("{")
    assert launcher.timings(partition) == [
        Timing("a", 5.0, 2.0, "test", True),
        Timing("b", 60.0, 0.0, "anomaly"),
        Timing("c", 60.0),
    ]


def test_a_type_says_how_often_and_how_long_it_runs_and_the_file_comes_first(
    launcher: Launcher, partition: Path, promise: Write
) -> None:
    promise("as-type", "rare", how="sleep", timeout=0.0)
    promise("as-file", "rare", how="sleep", timeout=0.1, fields={"period": 30.0})
    periods = {timing.name: timing.period for timing in launcher.timings(partition)}
    assert periods == {"as-type": 3600.0, "as-file": 30.0}
    found = {result.name: result.message for result in launcher.run(partition, "test")}
    assert found == {"as-type": "did not end within 0.3 s", "as-file": "did not end within 0.1 s"}
    with History(partition) as history:
        assert {item.name: item.period for item in history.latest()} == periods


def test_failures_older_than_over_are_not_counted(
    launcher: Launcher, partition: Path, promise: Write, bad: str
) -> None:
    for name in ("recent", "old"):
        promise(name, how="from_file", file=bad, fields={"failures": 3, "window": 5, "over": 600.0})
    _remember(partition, "recent", [500.0, 400.0])
    _remember(partition, "old", [700.0, 400.0])
    assert _statuses(launcher, partition) == {"old": "passed", "recent": "failed"}


@pytest.mark.parametrize("options", [{"how": "sleep"}, {"how": "hold_interpreter"}])
def test_a_hang_is_judged_by_the_numbers_of_its_type(
    launcher: Launcher, partition: Path, promise: Write, options: dict[str, str]
) -> None:
    for name in ("recent", "old", "first"):
        promise(name, "patient", timeout=0.2, **options)
    _remember(partition, "recent", [500.0, 400.0])
    _remember(partition, "old", [1200.0, 400.0])
    found = {result.name: result for result in launcher.run(partition, "anomaly")}
    assert {name: str(result.status) for name, result in found.items()} == {
        "recent": "failed",
        "old": "passed",
        "first": "passed",
    }
    assert found["first"].message == "failed 1 of 4 times, tolerated below 3: did not end within 0.2 s"


def test_a_window_may_be_a_thousand_runs(launcher: Launcher, partition: Path, promise: Write, bad: str) -> None:
    for name in ("all", "all-but-one"):
        promise(name, how="from_file", file=bad, fields={"failures": 1000, "window": 1000})
    _remember(partition, "all", range(60_000, 60, -60))
    _remember(partition, "all-but-one", range(59_940, 60, -60))
    assert _statuses(launcher, partition) == {"all": "failed", "all-but-one": "passed"}


def test_a_clock_that_was_set_back_changes_no_age(
    launcher: Launcher, partition: Path, promise: Write, bad: str
) -> None:
    """It was an hour ahead until two minutes ago: all of before seems to come from the future."""
    for name in ("long-ago", "recent"):
        promise(name, how="from_file", file=bad, fields={"failures": 3, "window": 50, "over": 600.0})
    for name, failed in (("long-ago", range(1200, 1800)), ("recent", range(300, 400))):
        for age in range(1800, 0, -60):
            seeming = age - HOUR if age > 120 else age
            _remember(partition, name, [seeming], is_passed=age not in failed)
    _remember(partition, "recent", [30.0])
    assert _statuses(launcher, partition) == {"long-ago": "passed", "recent": "failed"}


def test_a_clock_that_was_set_forward_forgets_at_most_what_was_before(
    launcher: Launcher, partition: Path, promise: Write, bad: str
) -> None:
    promise("flaps", how="from_file", file=bad, fields={"failures": 3, "window": 10, "over": 600.0})
    _remember(partition, "flaps", [HOUR + 60.0, HOUR, 60.0])
    assert [_statuses(launcher, partition)["flaps"] for _ in range(2)] == ["passed", "failed"]


def test_order_keeps_the_distances_of_before_a_jump() -> None:
    times = [100.0, 160.0, 3820.0, 3880.0, 340.0, 400.0]
    found = in_order(replace(Measurement.passed(""), time=at) for at in times)
    assert [item.time for item in found] == [-3440.0, -3380.0, 280.0, 340.0, 340.0, 400.0]
    right = [replace(Measurement.passed(""), time=at) for at in (1.0, 1.0, 2.0)]
    assert in_order(right) == right
    assert in_order([]) == []


def test_a_promise_sees_what_it_measured_before(launcher: Launcher, partition: Path, promise: Write) -> None:
    promise("records", how="record")
    promise("other", how="record")
    messages = [launcher.run(partition, names=["records"])[0].message for _ in range(3)]
    assert messages == ["[]", "[0.0]", "[0.0, 1.0]"]


def test_results_say_what_they_are_about(launcher: Launcher, partition: Path, promise: Write, bad: str) -> None:
    promise("checks", how="from_file", file=bad, fields={"after": ["network"]})
    promise("hangs", how="sleep", file="host:1", timeout=0.2)
    promise("crashes", how="crash", file="host:1")
    promise("unknown", "no_such_type")
    found = {item.name: (item.layer, item.target, item.after) for item in launcher.run(partition)}
    assert found == {
        "checks": (Layer.NETWORK, bad, ("network",)),
        "hangs": (Layer.NETWORK, "host:1", ()),
        "crashes": (Layer.NETWORK, "", ()),
        "unknown": (Layer.APPLICATION, "", ()),
    }


def test_a_history_that_can_not_be_kept_is_told_once(
    launcher: Launcher, partition: Path, promise: Write, caplog: pytest.LogCaptureFixture
) -> None:
    promise("fine", "check_file_state", filename="etc")
    caplog.set_level("INFO", "allotment_promises")
    place = partition / ".allotment/promises"
    place.parent.mkdir()
    place.touch()
    for _ in range(3):
        launcher.run(partition)
    place.unlink()
    for _ in range(2):
        launcher.run(partition)
    first, second = [record.message for record in caplog.records]
    assert first.startswith(f"{partition}: the history of promises can't be kept: {place}: File exists")
    assert second == f"{partition}: the history of promises is kept again"
