# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest

from allotment_node.schedule import NEVER, Pace, Schedule
from allotment_promises.catalogue import Timing


def run(schedule: Schedule, until: float, broken: tuple[str, ...] = (), now: float = 0.0) -> list[tuple[float, Any]]:
    """Run what is due whenever it is; return when which mode ran what."""
    ran = []
    while (when := schedule.next()) <= until:
        now = max(now, when)
        for mode, names in schedule.due(now).items():
            ran.append((round(now, 3), (mode, *names)))
            schedule.begun(names, now)
            schedule.done(names, broken, now)
    return ran


def begin_and_end(schedule: Schedule, names: list[str], begin: float, end: float | None = None) -> None:
    schedule.begun(names, begin)
    schedule.done(names, (), begin if end is None else end)


def timings(**periods: float) -> list[Timing]:
    return [Timing(name, period) for name, period in periods.items()]


def test_each_runs_by_its_period_together_with_what_is_due_at_the_time() -> None:
    schedule = Schedule(timings(a=60.0, b=60.0, c=90.0), 1000.0, -NEVER)
    assert run(schedule, 1180.0) == [
        (1000.0, ("anomaly", "a", "b", "c")),
        (1060.0, ("anomaly", "a", "b")),
        (1090.0, ("anomaly", "c")),
        (1120.0, ("anomaly", "a", "b")),
        (1180.0, ("anomaly", "a", "b", "c")),
    ]


def test_what_is_due_a_moment_later_runs_too_and_not_again_at_its_time() -> None:
    schedule = Schedule([Timing("a", 60.0), Timing("b", 60.4), Timing("quick", 1.0)], 0.0, -NEVER)
    begin_and_end(schedule, ["a", "b", "quick"], 0.0)
    assert schedule.due(60.1) == {"anomaly": ["a", "b", "quick"]}
    begin_and_end(schedule, ["a", "b", "quick"], 60.1)
    assert schedule.due(60.5) == {}
    assert schedule.due(61.0) == {"anomaly": ["quick"]}
    assert schedule.due(120.0) == {"anomaly": ["a", "quick"]}


@pytest.mark.parametrize("begin", [4.16, 0.1, 1e9 + 1 / 3])
def test_it_goes_on_however_times_are_rounded(begin: float) -> None:
    schedule = Schedule(timings(a=60.0, b=1.1), begin, -NEVER)
    times = [when for when, _ in run(schedule, begin + 600.0)]
    assert times == sorted(set(times))
    assert len(times) >= 600 / 1.1


def test_what_takes_long_is_late_once_and_keeps_its_times() -> None:
    schedule = Schedule(timings(a=60.0), 0.0, -NEVER)
    begin_and_end(schedule, ["a"], 0.0, 25.0)
    assert schedule.next() == 60.0
    begin_and_end(schedule, ["a"], 60.0, 130.0)
    assert schedule.next() == 180.0


def test_what_still_runs_is_not_run_beside_itself_and_others_go_on() -> None:
    schedule = Schedule(timings(hangs=60.0, fine=60.0), 0.0, -NEVER)
    schedule.begun(["hangs", "fine"], 0.0)
    schedule.done(["fine"], (), 0.3)
    assert run(schedule, 120.0) == [(60.0, ("anomaly", "fine")), (120.0, ("anomaly", "fine"))]
    schedule.done(["hangs"], ["hangs"], 150.0)
    assert run(schedule, 180.0) == [(180.0, ("anomaly", "fine", "hangs"))]


def test_after_hours_of_suspension_each_runs_once() -> None:
    schedule = Schedule(timings(often=60.0, seldom=3600.0), 0.0, -NEVER)
    begin_and_end(schedule, ["often", "seldom"], 0.0)
    ran = run(schedule, 36_120.0, now=36_005.0)
    assert ran == [
        (36_005.0, ("anomaly", "often", "seldom")),
        (36_060.0, ("anomaly", "often")),
        (36_120.0, ("anomaly", "often")),
    ]


def test_broken_promises_are_tested_again_soon_until_they_must_be_kept() -> None:
    schedule = Schedule(timings(bad=60.0, good=60.0), 0.0, 10.0)
    ran = run(schedule, 60.0, ("bad",))
    assert ran == [
        (0.0, ("test", "bad", "good")),
        *((when, ("test", "bad")) for when in (0.2, 0.6, 1.4, 3.0, 6.0, 9.0)),
        (10.0, ("anomaly", "bad")),
        (60.0, ("anomaly", "bad", "good")),
    ]


def test_a_test_is_run_until_it_passes_and_the_other_kind_only_in_operation() -> None:
    some = [Timing("after", 60.0, only="anomaly"), Timing("before", 60.0, only="test")]
    assert run(Schedule(some, 0.0, 10.0), 130.0) == [
        (0.0, ("test", "before")),
        *((when, ("anomaly", "after")) for when in (10.0, 60.0, 120.0)),
    ]
    schedule = Schedule(some, 0.0, 10.0)
    assert run(schedule, 60.0, ("before",))[-1] == (60.0, ("test", "before"))
    assert run(schedule, 180.0)[1:] == [(120.0, ("test", "before")), (180.0, ("anomaly", "after"))]


def test_jitter_delays_each_run_anew_but_not_the_next_ones() -> None:
    chances = iter([0.5, 1.0, 0.0])
    schedule = Schedule([Timing("a", 60.0, jitter=10.0)], 0.0, -NEVER, lambda: next(chances))
    assert [when for when, _ in run(schedule, 129.9)] == [0.0, 65.0]
    assert schedule.next() == 130.0


def test_one_without_promises_is_never_due() -> None:
    schedule = Schedule((), 0.0, -NEVER)
    assert (schedule.next(), schedule.due(1e9)) == (NEVER, {})


def test_a_first_run_that_is_put_off_takes_the_later_ones_along() -> None:
    schedule = Schedule(timings(a=60.0), 0.0, -NEVER)
    schedule.postpone(7.0)
    assert schedule.next() == 7.0
    begin_and_end(schedule, ["a"], 7.0)
    schedule.postpone(3.0)
    assert schedule.next() == 67.0


def test_many_are_spread_evenly_and_few_begin_at_once() -> None:
    now = 100.0
    pace = Pace(lambda: now, burst=1.0)
    assert [pace.reserve(40, 200.0) for _ in range(8)] == pytest.approx([0, 0, 0, 0, 0, 0, 0.2, 0.4])
    now += 1000.0
    assert pace.reserve(150, 200.0) == 0.0


def test_ten_thousand_do_not_come_at_once() -> None:
    """All are due at the same moment; never begin many more than twice as many as on average, which is 167 a second."""
    pace = Pace(lambda: 0.0)
    schedules = []
    for number in range(250):
        schedule = Schedule(timings(**{f"p{number}-{each}": 60.0 for each in range(40)}), 0.0, -NEVER)
        schedule.postpone(pace.reserve(40, 2 * 10_000 / 60))
        schedules.append(schedule)
    begun: dict[int, int] = {}
    for schedule in schedules:
        for when, (_, *names) in run(schedule, 180.0):
            begun[int(when)] = begun.get(int(when), 0) + len(names)
    assert sum(begun.values()) >= 3 * 10_000
    assert max(count for second, count in begun.items() if second) <= 450


def test_what_is_asked_for_runs_now_and_then_at_its_times_again() -> None:
    schedule = Schedule(timings(a=60.0, b=60.0), 0.0, -NEVER)
    begin_and_end(schedule, ["a", "b"], 0.0)
    schedule.hurry(["a", "gone"], 20.0)
    assert schedule.due(20.0) == {"anomaly": ["a"]}
    begin_and_end(schedule, ["a"], 20.0)
    assert schedule.next() == 60.0
    assert schedule.due(60.0) == {"anomaly": ["a", "b"]}
