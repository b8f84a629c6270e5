# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from typing import Any

import pytest

from allotment.messages.instance import ChildAnswer, ChildRequest, InstanceRequests, InstanceState
from allotment_node.rounds import Rounds


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def requests(n: int) -> InstanceRequests:
    return InstanceRequests(True, (ChildRequest("db", "r", parameters={"n": n}),))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rounds(clock: Clock) -> Rounds:
    return Rounds(limit=3, gap=60.0, clock=clock)


def test_requests_that_change_with_each_answer_end(rounds: Rounds, document: Callable[..., Any]) -> None:
    def answered(n: int) -> Any:
        return document(generation=n, answers={"db": ChildAnswer(InstanceState.STARTED, {"n": n})})

    assert [rounds.note(answered(n), requests(n)) for n in range(4)] == [False, False, False, True]
    assert rounds.is_exhausted(answered(5))
    assert not rounds.is_exhausted(document(parameters={"n": 2}))


def test_children_that_answer_one_after_the_other_are_no_oscillation(
    rounds: Rounds, document: Callable[..., Any]
) -> None:
    def answered(count: int, n: int) -> Any:
        answers = {f"child-{i}": ChildAnswer(InstanceState.STARTED, {"n": n}) for i in range(count)}
        return document(answers=answers)

    assert not any(rounds.note(answered(n, 0), requests(n)) for n in range(20))
    fewer = [rounds.note(answered(n % 20, n), requests(n)) for n in range(20, 23)]
    assert fewer == [False, False, True]


def test_requests_that_settle_begin_a_new_count(rounds: Rounds, document: Callable[..., Any]) -> None:
    for n in (1, 2, 3, 3, 4, 5, 5):
        assert not rounds.note(document(), requests(n))


def test_slow_changes_are_no_oscillation(rounds: Rounds, document: Callable[..., Any], clock: Clock) -> None:
    for n in range(20):
        assert not rounds.note(document(), requests(n))
        clock.now += 61.0


def test_an_exhausted_partition_gets_another_chance_after_a_pause(
    rounds: Rounds, document: Callable[..., Any], clock: Clock
) -> None:
    for n in range(4):
        rounds.note(document(), requests(n))
    clock.now += 59.0
    assert rounds.is_exhausted(document())
    clock.now += 61.0
    assert not rounds.is_exhausted(document())
