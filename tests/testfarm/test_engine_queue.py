# SPDX-License-Identifier: Apache-2.0
"""The order of waiting jobs, as the queue in memory gives them away."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from allotment_testfarm.db.nodes import Asker
from allotment_testfarm.db.waiting import WaitingJob
from allotment_testfarm.engine.queue import ReadyQueue

NOW = 1000.0
N1 = Asker("n1", "linux-x86_64", "e1")
N2 = Asker("n2", "linux-x86_64", "e1")
N3 = Asker("n3", "linux-aarch64", "e3")
KINDS = ("release",)


def job(number: int, **details: Any) -> WaitingJob:
    values: dict[str, Any] = {"kind": "release", "platform": "any", "priority": 0, "ready": 0.0, "avoid": ""}
    values |= {"avoid_until": 0.0, "files": "f", "is_fresh": False, **details}
    return WaitingJob(id=number, project=1, release="a", **values)


def filled(*jobs: WaitingJob) -> ReadyQueue:
    queue = ReadyQueue(longest=30.0)
    for item in jobs:
        queue.add(item, NOW)
    return queue


def picked(queue: ReadyQueue, asker: Asker = N1, kinds: tuple[str, ...] = KINDS) -> int | None:
    found = queue.pick(asker, kinds)
    return None if found is None else found.job.id


@given(st.lists(st.tuples(st.integers(-3, 3), st.sampled_from(["any", "linux-x86_64", "linux-aarch64"])), max_size=30))
def test_the_highest_priority_goes_first_and_then_the_oldest(wanted: list[tuple[int, str]]) -> None:
    jobs = [job(number, priority=priority, platform=platform) for number, (priority, platform) in enumerate(wanted)]
    queue = filled(*reversed(jobs))
    fitting = [item for item in jobs if item.platform != "linux-aarch64"]
    expected = [item.id for item in sorted(fitting, key=lambda item: (-item.priority, item.id))]
    assert [picked(queue) for _ in fitting] == expected
    assert picked(queue) is None
    assert len(queue) == len(jobs) - len(fitting)


def test_kinds_that_a_test_node_does_not_run_are_left() -> None:
    queue = filled(job(1, kind="from-scratch"), job(2))
    assert picked(queue) == 2
    assert picked(queue) is None
    assert picked(queue, kinds=("from-scratch",)) == 1


def test_a_job_comes_in_when_its_time_has_come() -> None:
    queue = filled(job(1, ready=NOW + 5))
    assert not queue.advance(NOW + 4.9)
    assert picked(queue) is None
    assert queue.advance(NOW + 5)
    assert picked(queue) == 1
    assert not queue.advance(NOW + 99)


def test_a_test_node_that_failed_is_passed_over_for_a_while() -> None:
    queue = filled(job(1, avoid="n1", avoid_until=NOW + 15))
    assert picked(queue) is None
    assert picked(queue, N2) == 1
    queue.add(job(1, avoid="n1", avoid_until=NOW + 15), NOW)
    assert queue.advance(NOW + 15)
    assert picked(queue) == 1


def test_what_a_clock_that_was_ahead_has_said_keeps_no_job_for_long() -> None:
    ahead = NOW + 1e8
    queue = filled(job(1, ready=ahead), job(2, avoid="n1", avoid_until=ahead))
    assert picked(queue) is None
    assert not queue.advance(NOW + 29)
    assert queue.advance(NOW + 30)
    assert [picked(queue), picked(queue)] == [1, 2]


def test_a_clock_that_is_set_back_keeps_no_job_for_long() -> None:
    queue = filled(job(1, ready=NOW + 5))
    assert queue.advance(NOW - 3600)
    assert not queue.advance(NOW - 3600 + 29)
    assert queue.advance(NOW - 3600 + 30)
    assert picked(queue) == 1


def test_a_held_job_waits_for_the_one_that_runs_except_in_another_environment() -> None:
    queue = filled(job(2), job(3))
    found = queue.pick(N1, KINDS)
    assert found is not None
    queue.hold(found, by=1, environment="e1")
    assert picked(queue, N2) == 3
    assert picked(queue, N2) is None
    other = queue.pick(N3, KINDS)
    assert other is not None and other.job.id == 2
    queue.hold(other, by=7, environment="e3")
    assert picked(queue) is None  # still not for the first
    assert picked(queue, N3) is None
    assert not queue.ended(4711, NOW)
    assert queue.ended(1, NOW)
    assert picked(queue) == 2
    assert not queue.ended(7, NOW)


def test_what_the_database_says_is_taken_over() -> None:
    queue = filled(job(1), job(2), job(3, ready=NOW + 9))
    found = queue.pick(N1, KINDS)
    assert found is not None
    queue.hold(found, by=9, environment="e1")
    assert queue.match({1, 3, 4}) == {4}
    assert picked(queue) is None
    assert queue.let_go(NOW)
    assert not queue.let_go(NOW)
    assert picked(queue) == 1
    assert picked(queue) is None
    assert queue.advance(NOW + 9)
    assert picked(queue) == 3
    assert len(queue) == 0


def test_what_is_held_again_and_again_takes_no_more_room() -> None:
    queue = filled(*(job(number) for number in range(1, 4)))
    for _ in range(100):
        while (found := queue.pick(N1, KINDS)) is not None:
            queue.hold(found, by=9, environment="e1")
        assert queue.let_go(NOW)
    assert sum(map(len, queue._lanes.values())) == 3
    assert [picked(queue) for _ in range(4)] == [1, 2, 3, None]


def test_a_job_that_changed_takes_its_new_place_only() -> None:
    queue = filled(job(1), job(2))
    queue.add(job(2, priority=1), NOW)
    queue.add(job(1, ready=NOW + 1), NOW)
    assert [picked(queue), picked(queue)] == [2, None]


def test_a_pick_does_not_look_at_all_that_wait() -> None:
    """Counts what is compared: with a heap, some dozens for each pick, whatever waits."""
    compared = 0

    class Counted(int):
        def __lt__(self, other: int) -> bool:
            nonlocal compared
            compared += 1
            return int(self) < int(other)

    queue = filled(*(job(Counted(number)) for number in range(20_000)))
    compared = 0
    assert [picked(queue) for _ in range(100)] == list(range(100))
    assert compared < 100 * 50
