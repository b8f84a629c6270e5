# SPDX-License-Identifier: Apache-2.0
"""Duties: each is one engine's at a time."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from twisted.internet.task import Clock

from allotment_testfarm.db import duties
from allotment_testfarm.engine.duties import SECONDS, SharedDuties


def test_of_engines_that_ask_at_once_one_gets_the_duty(filled: Any) -> None:
    barrier = threading.Barrier(4)

    def take(name: str) -> bool:
        barrier.wait()
        return filled.run(duties.take, "poll", name, filled.now, 30.0)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(take, "abcd")) == [False, False, False, True]


def test_a_duty_is_kept_until_it_runs_out(filled: Any) -> None:
    def take(name: str, seconds: float) -> bool:
        return filled.run(duties.take, "poll", name, filled.now + seconds, 30.0)

    assert take("a", 0)
    assert take("a", 20)
    assert not take("b", 49)
    assert filled.run(duties.take, "offers", "b", filled.now, 30.0)  # each for itself
    assert take("b", 50)
    assert not take("a", 51)
    filled.run(duties.release, "b")
    assert take("a", 52)


def test_a_clock_that_was_ahead_keeps_no_duty_for_long(filled: Any) -> None:
    def take(name: str, seconds: float) -> bool:
        return filled.run(duties.take, "poll", name, filled.now + seconds, 30.0)

    assert take("a", 1e8)
    assert take("b", 0)
    assert not take("a", -20)  # clocks of two machines may differ by so much


def test_another_engine_takes_over_when_one_is_gone_or_stops(workers: Any, clock: Clock, result_of: Any) -> None:
    first, second = (SharedDuties(clock, workers, name) for name in ("first", "second"))
    for _ in range(10):
        assert result_of(first.mine("poll"))
        assert not result_of(second.mine("poll"))
        clock.advance(SECONDS / 2)
    clock.advance(SECONDS)  # the first was not there
    assert result_of(second.mine("poll"))
    assert not result_of(first.mine("poll"))
    result_of(second.release())
    assert result_of(first.mine("poll"))
