# SPDX-License-Identifier: Apache-2.0
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from allotment_node.work import Key, WorkQueue, are_settled


@pytest.fixture
def make_queue() -> Iterator[Callable[..., WorkQueue]]:
    made: list[WorkQueue] = []

    def make(handler: Callable[[Key], None], workers: int = 4, **options: Any) -> WorkQueue:
        made.append(WorkQueue(handler, workers, **options))
        made[-1].start()
        return made[-1]

    yield make
    for queue in made:
        queue.stop(5.0)


def test_a_key_asked_for_while_it_runs_runs_once_more(make_queue: Callable[..., WorkQueue]) -> None:
    runs: list[Key] = []
    began, go = threading.Event(), threading.Event()

    def handler(key: Key) -> None:
        runs.append(key)
        began.set()
        go.wait(10)

    queue = make_queue(handler)
    queue.put("partition", "part0")
    assert began.wait(10)
    for _ in range(5):
        queue.put("partition", "part0")
    assert len(runs) == 1
    go.set()
    assert queue.settle(10)
    assert len(runs) == 2


def test_different_keys_run_side_by_side(make_queue: Callable[..., WorkQueue]) -> None:
    together = threading.Barrier(4)
    queue = make_queue(lambda key: together.wait(10) and None)
    for number in range(4):
        queue.put("partition", f"part{number}")
    assert queue.settle(10)
    assert not together.broken


def test_work_that_raises_is_tried_again_and_others_go_on(
    make_queue: Callable[..., WorkQueue], caplog: pytest.LogCaptureFixture
) -> None:
    runs: list[str] = []
    again = threading.Event()

    def handler(key: Key) -> None:
        runs.append(key.name)
        if runs.count("bad") == 2:
            again.set()
        elif key.name == "bad":
            raise RuntimeError("a bug")

    queue = make_queue(handler, workers=1, retry=0.01)
    queue.put("partition", "bad")
    queue.put("partition", "good")
    assert again.wait(10)
    assert queue.settle(10)
    assert "good" in runs
    assert "a bug" in caplog.text


def test_the_earlier_of_two_times_counts(make_queue: Callable[..., WorkQueue]) -> None:
    ran = threading.Event()
    queue = make_queue(lambda key: ran.set())
    queue.put("partition", "part0", 3600.0)
    queue.put("partition", "part0", 0.0)
    queue.put("partition", "part0", 3600.0)
    assert ran.wait(10)


def test_nothing_new_begins_after_stop(make_queue: Callable[..., WorkQueue]) -> None:
    runs: list[Key] = []
    queue = make_queue(runs.append)
    queue.stop(5.0)
    queue.put("partition", "part0")
    assert not queue.is_settled()
    assert runs == []


def test_threads_are_started_when_there_is_something_to_do_and_only_then(make_queue: Callable[..., WorkQueue]) -> None:
    go = threading.Event()
    started = threading.Semaphore(0)

    def handler(key: Key) -> None:
        started.release()
        go.wait(10)

    before = threading.active_count()
    queue = make_queue(handler, workers=50)
    assert threading.active_count() == before
    queue.put("promises", "later", 3600.0)
    for number in range(3):
        queue.put("promises", f"part{number}")
    for _ in range(3):
        assert started.acquire(timeout=10)
    assert threading.active_count() - before <= 4  # one waits for the time of the last
    go.set()
    assert queue.settle(10)


def test_slow_work_delays_nothing_else(make_queue: Callable[..., WorkQueue]) -> None:
    go, ran = threading.Event(), threading.Event()
    queue = make_queue(lambda key: go.wait(30) if key.name != "quick" else ran.set(), workers=101)
    for number in range(100):
        queue.put("promises", f"slow{number}")
    queue.put("promises", "quick", 0.2)
    assert ran.wait(10)
    go.set()


def test_keys_come_in_the_order_of_their_times(make_queue: Callable[..., WorkQueue]) -> None:
    runs: list[str] = []
    queue = make_queue(lambda key: runs.append(key.name), workers=1)
    for name, delay in (("c", 0.3), ("a", 0.1), ("d", 0.4), ("b", 0.2)):
        queue.put("promises", name, delay)
    deadline = time.monotonic() + 10
    while len(runs) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert runs == ["a", "b", "c", "d"]


def test_a_machine_that_was_suspended_goes_on_with_what_became_due(
    make_queue: Callable[..., WorkQueue], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue's clock jumps; a thread that waits notices when it looks next."""
    monkeypatch.setattr("allotment_node.work._LOOK", 0.05)
    suspended = 0.0
    runs: list[str] = []
    queue = make_queue(lambda key: runs.append(key.name), clock=lambda: time.monotonic() + suspended)
    for name in ("part0", "part1"):
        queue.put("promises", name, 3600.0)
    assert queue.is_settled()
    suspended = 7200.0
    assert not queue.is_settled()
    assert queue.settle(10)
    assert sorted(runs) == ["part0", "part1"]


def test_many_threads_asking_at_once_lose_nothing(make_queue: Callable[..., WorkQueue]) -> None:
    counted: dict[str, int] = {}
    queue = make_queue(lambda key: counted.__setitem__(key.name, counted.get(key.name, 0) + 1), workers=8)

    def ask(number: int) -> None:
        for count in range(200):
            queue.put("promises", f"{number}-{count}", 0.001 * (count % 7))

    asking = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    deadline = time.monotonic() + 20
    while len(counted) < 1600 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(counted) == 1600
    assert set(counted.values()) == {1}


def test_queues_that_ask_each_other_are_not_called_settled_in_between() -> None:
    class Ending(WorkQueue):
        """Its work asks for work of the other queue, and ends, just before somebody looks at it."""

        def is_settled(self) -> bool:
            first.put("software", "manifest")
            return super().is_settled()

    first, second = WorkQueue(print, 1), Ending(print, 1)
    assert are_settled([first])
    assert not are_settled([first, second])
    assert not are_settled([first])
