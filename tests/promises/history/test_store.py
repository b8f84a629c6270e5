# SPDX-License-Identifier: Apache-2.0
import math
import os
import sqlite3
from pathlib import Path

import pytest

from allotment_promises.history import FOLDER, MESSAGE_LIMIT, NAME, History, HistoryError, Record
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.result import PromiseStatus

NOW = 1_800_000_000.0
DAY = 86400.0


def _record(number: int, is_passed: bool | None = True, message: str = "", **metrics: float) -> Record:
    return Record(NOW + 60 * number, 0.25, is_passed, message, {key: Metric(value) for key, value in metrics.items()})


def _fill(history: History, count: int, first: int = 0, name: str = "web") -> None:
    for number in range(first, first + count):
        history.append_all([(name, _record(number, load=float(number)))])


def test_newest_records_come_oldest_first(partition: Path) -> None:
    history = History(partition)
    for number in range(5):
        history.append_all([("web", _record(number, number % 2 == 0, f"message {number}"))])
    assert history.newest("web", 3) == [_record(2), _record(3, False, "message 3"), _record(4)]
    assert history.newest("other", 3) == []
    assert history.newest("web", 0) == []
    history.close()
    assert [path.name for path in (partition / FOLDER).iterdir()] == [NAME]


def test_reading_makes_no_file(partition: Path) -> None:
    with History(partition) as history:
        assert (history.names(), history.newest("web", 5), history.series("web", "load", 60)) == ([], [], [])
        assert (history.streaks("web"), history.changes()) == ([], [])
        history.prune(set())
    assert not (partition / ".allotment").exists()


def test_records_are_the_same_one_by_one_and_packed(partition: Path) -> None:
    metrics = {"seconds": Metric(1 / 3, "s"), "free": Metric(2.0**60, "B")}
    records = [
        Record(
            NOW + 59.987 * number,
            0.0123,
            (True, False, None)[number % 3],
            "x\n\N{SNOWMAN}" if number % 3 else "",
            metrics,
        )
        for number in range(500)
    ]
    with History(partition) as history:
        for record in records:
            history.append_all([("web", record), ("other", _record(1))])
        found = history.newest("web", 1000)
        assert [round(item.time, 3) for item in records] == [item.time for item in found]
        assert [(item.is_passed, item.message, item.metrics) for item in records] == [
            (item.is_passed, item.message, item.metrics) for item in found
        ]
        assert history.newest("web", 77) == found[-77:]


def test_measurements_have_time_and_metrics_and_leave_out_runs_without_one(partition: Path) -> None:
    with History(partition, lambda: NOW + 240) as history:
        for number, is_passed in enumerate((False, None, None, True)):
            history.append_all([("web", _record(number, is_passed, "m", load=0.5))])
        found = [
            Measurement(False, "m", {"load": Metric(0.5)}, NOW),
            Measurement(True, "", {"load": Metric(0.5)}, NOW + 180),
        ]
        assert history.measurements("web", 2) == found
        assert history.measurements("web", 2, over=100) == found[1:]
        assert history.measurements("web", 0) == []


def test_messages_are_shortened_and_numbers_that_are_none_left_out(partition: Path) -> None:
    with History(partition) as history:
        history.append_all([("web", _record(1, False, "x" * 10_000, bad=math.nan, worse=math.inf, fine=1.0))])
        (record,) = history.newest("web", 1)
    assert (record.message, dict(record.metrics)) == ("x" * MESSAGE_LIMIT, {"fine": Metric(1.0)})


def test_series_has_single_values_then_means_of_hours(partition: Path) -> None:
    now = [NOW]
    with History(partition, lambda: now[0]) as history:
        for day in range(4):
            for minute in range(1440):
                now[0] = NOW + day * DAY + minute * 60
                history.append_all([("web", Record(now[0], 0, True, "", {"load": Metric(minute % 60)}))])
        found = history.series("web", "load", 4 * DAY)
        times = [time for time, _ in found]
        assert times == sorted(times)
        assert {value for _, value in found[:24]} == {29.5}
        single = [item for item in history.points("web", "load", 0, now[0]) if not item.seconds]
        assert 2 * 1440 <= len(single) <= 2 * 1440 + 240
        assert [item.mean for item in single[-2:]] == [58.0, 59.0]
        hour = history.points("web", "load", 0, now[0])[1]
        assert (hour.low, hour.mean, hour.high, hour.count, hour.seconds) == (0.0, 29.5, 59.0, 60, 3600)
        assert history.series("web", "load", 120) == [(now[0] - 120, 57.0), (now[0] - 60, 58.0), (now[0], 59.0)]
        assert history.metrics("web") == {"load": ""}


def test_streaks_follow_the_states_and_end_at_gaps(partition: Path) -> None:
    with History(partition) as history:
        for number, is_passed in ((0, True), (1, True), (2, False), (3, False), (9, False), (10, None), (11, True)):
            history.append_all([("web", _record(number, is_passed, f"at {number}"))])
        found = [
            (item.state.value, item.start - NOW, item.until - NOW, item.message) for item in history.streaks("web")
        ]
        assert found == [
            ("passed", 0, 120, "at 0"),
            ("failed", 120, 180, "at 2"),
            ("failed", 540, 600, "at 9"),
            ("error", 600, 660, "at 10"),
            ("passed", 660, 660, "at 11"),
        ]
        assert [item.message for item in history.changes()] == ["at 11", "at 10", "at 2"]
        assert [item.before for item in history.changes(1)] == [PromiseStatus.ERROR]
        assert [item.message for item in history.changes(since=NOW + 600)] == ["at 11", "at 10"]
        assert [item.message for item in history.streaks("web", since=NOW + 599)] == ["at 9", "at 10", "at 11"]


def test_first_measurement_is_a_change_only_when_it_does_not_pass(partition: Path) -> None:
    with History(partition) as history:
        history.append_all([("good", _record(0)), ("bad", _record(0, False, "refused"))])
        assert [(item.name, item.before) for item in history.changes()] == [("bad", None)]


def test_clock_that_goes_back_and_forth_leaves_the_order(partition: Path) -> None:
    """The newest records are those written last, and a wrong year does not drop what is there."""
    now = [NOW]
    with History(partition, lambda: now[0]) as history:
        _fill(history, 1000)
        before = [item for item in history.points("web", "load", 0, 2 * NOW) if not item.seconds]
        now[0] = NOW + 10 * 366 * DAY
        for minute in range(60):
            history.append_all([("web", Record(now[0] + 60 * minute, 0, True))])
        now[0] = NOW + 1000 * 60 - 3600
        for minute in range(200):
            history.append_all([("web", Record(now[0] + 60 * minute, 0, True))])
        assert [item.time for item in history.newest("web", 2)] == [now[0] + 60 * 198, now[0] + 60 * 199]
        after = [item for item in history.points("web", "load", 0, 2 * NOW) if not item.seconds]
        assert len(before) - 120 <= len(after)


def test_prune_drops_all_but_the_kept(partition: Path) -> None:
    with History(partition) as history:
        for name in ("a", "b", "c"):
            _fill(history, 200, name=name)
        history.prune({"b", "d"})
        assert history.names() == ["b"]
        assert len(history.newest("b", 500)) == 200
        assert history.newest("a", 5) == [] == history.streaks("a")
    with sqlite3.connect(partition / FOLDER / NAME) as database:
        for table in ("records", "chunks", "weeks", "streaks"):
            assert len(database.execute(f"SELECT DISTINCT promise FROM {table}").fetchall()) == 1, table


def test_latest_tells_every_promise_in_one_look(partition: Path) -> None:
    with History(partition) as history:
        history.append_all([("b", _record(1)), ("a", Record(NOW, 1.0, None, "bug", period=3600.0))])
        history.append_all([("b", _record(2, False))])
        found = [(item.name, item.state.value, item.time, item.period, item.count) for item in history.latest()]
        assert found == [("a", "error", NOW, 3600.0, 1), ("b", "failed", NOW + 120, 60.0, 2)]


def test_two_writers_lose_nothing(partition: Path) -> None:
    first, second = History(partition), History(partition)
    with first, second:
        for number in range(300):
            (first if number % 2 else second).append_all([("web", _record(number))])
        assert first.newest("web", 500) == [_record(number) for number in range(300)]


def test_a_forked_child_opens_the_file_anew(partition: Path) -> None:
    with History(partition) as history:
        _fill(history, 1)
        pid = os.fork()
        if pid == 0:
            try:
                _fill(history, 1, first=1)
                history.close()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0
        _fill(history, 1, first=2)
        assert [item.time - NOW for item in history.newest("web", 5)] == [0, 60, 120]


def test_all_or_nothing_of_a_batch_is_written(partition: Path) -> None:
    with History(partition) as history:
        _fill(history, 1)
        with pytest.raises(ValueError, match="NaN"):
            history.append_all([("web", _record(1)), ("other", Record(math.nan, 0.0, True))])
        assert (history.names(), len(history.newest("web", 5))) == (["web"], 1)


def test_folder_that_can_not_be_written_is_a_clear_error(partition: Path) -> None:
    (partition / ".allotment").write_text("a file where the folder should be")
    with History(partition) as history:
        assert history.newest("web", 1) == []
        with pytest.raises(HistoryError, match=r"/\.allotment/promises: Not a directory\. Give the partition space"):
            history.append_all([("web", _record(1))])


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, 1e300, -1.0, 0.0])
def test_odd_questions_have_answers_and_harm_nothing(partition: Path, odd: float) -> None:
    with History(partition, lambda: NOW) as history:
        _fill(history, 150)
        for name in ("web", "\udcff"):
            history.series(name, "load", odd)
            history.points(name, "load", odd, odd)
            history.streaks(name, odd)
            history.uptimes(odd, odd, name)
            history.measurements(name, 10**30, odd)
        history.changes(10**30, odd)
        assert len(history.newest("web", 10**30)) == 150
        assert len(history.points("web", "load", -math.inf, math.inf)) == 150


def test_texts_that_are_not_unicode_are_replaced(partition: Path) -> None:
    with History(partition) as history:
        history.append_all([("\udcff", Record(NOW, 0.1, False, "\udcff", {"\udcff": Metric(1.0, "\udcff")}))])
        assert [item.message for item in history.newest("\udcff", 1)] == ["?"]
