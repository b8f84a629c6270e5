# SPDX-License-Identifier: Apache-2.0
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from allotment_node.work import Key, WorkQueue


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
