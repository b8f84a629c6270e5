# SPDX-License-Identifier: Apache-2.0
import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from allotment.errors import AllotmentError
from allotment.messages.desired_state import InstanceStatus
from allotment_node import agent as agents
from allotment_node.silences import Silences, matches, silence_of
from allotment_promises.catalogue import Timing


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def silences(tmp_path: Path, clock: Clock) -> Silences:
    return Silences(tmp_path / "silences.json", clock)


def test_a_silence_has_author_reason_and_end(silences: Silences, clock: Clock, tmp_path: Path) -> None:
    made = silences.add("part0/page", "the disk is exchanged", 2000.0, "ada")
    assert (made.promise, made.author, made.reason, made.start, made.until) == (
        "part0/page", "ada", "the disk is exchanged", 1000.0, 2000.0,
    )  # fmt: skip
    assert silences.active() == [made] == Silences(tmp_path / "silences.json", clock).active()
    assert silences.find("part0", "page") == made
    assert silences.find("part1", "page") is None
    clock.now = 2000.0
    assert not silences.told("part0", "page")
    assert silences.active() == []
    assert (tmp_path / "silences.json").stat().st_mode & 0o777 == 0o600


def test_the_author_is_by_default_who_makes_it(silences: Silences) -> None:
    assert silences.add("page", "known", 2000.0).author


@pytest.mark.parametrize(
    ("pattern", "partition", "promise", "is_meant"),
    [
        ("page", "part0", "page", True),
        ("page", "part0", "page-2", False),
        ("page*", "part0", "page-2", True),
        ("part?/page", "part7", "page", True),
        ("part0/*", "part1", "page", False),
        ("service *", "part0", "service web", True),
    ],
)
def test_a_pattern_means_promises(pattern: str, partition: str, promise: str, is_meant: bool) -> None:
    assert matches(pattern, partition, promise) is is_meant


def test_of_several_silences_the_one_that_ends_last_is_told(silences: Silences) -> None:
    silences.add("page", "short", 1100.0, "ada")
    longer = silences.add("part0/*", "long", 1200.0, "bruno")
    assert silence_of(silences.known(), "part0", "page") == longer
    assert silence_of(silences.known(), "part0", "other") is not None
    assert silence_of(silences.known(), "part1", "other") is None
    assert [item.reason for item in silences.active()] == ["short", "long"]


def test_a_silence_is_ended_early_by_id_or_by_what_it_is_for(silences: Silences, clock: Clock) -> None:
    first, second, third = (silences.add(name, "known", 2000.0) for name in ("a", "b", "b"))
    clock.now = 1500.0
    assert [(item.id, item.until) for item in silences.end(first.id)] == [(first.id, 1500.0)]
    assert {item.id for item in silences.end("b")} == {second.id, third.id}
    assert silences.active() == []
    with pytest.raises(AllotmentError, match=r"no silence is called 'b'\. Name one of: there is none\."):
        silences.end("b")


def test_an_agent_sees_at_once_what_a_command_has_done(silences: Silences, clock: Clock, tmp_path: Path) -> None:
    agent = Silences(tmp_path / "silences.json", clock)
    assert not agent.told("part0", "page")
    made = silences.add("page", "known", 2000.0)
    assert agent.told("part0", "page")
    silences.end(made.id)
    assert not agent.told("part0", "page")


def test_silences_made_at_the_same_time_are_all_kept(tmp_path: Path, clock: Clock) -> None:
    with ThreadPoolExecutor(8) as pool:
        names = [f"promise-{number}" for number in range(40)]
        made = list(pool.map(lambda name: Silences(tmp_path / "silences.json", clock).add(name, "x", 2000.0), names))
    assert len({item.id for item in made}) == 40
    assert {item.promise for item in Silences(tmp_path / "silences.json", clock).active()} == set(names)


def test_what_is_over_leaves_the_file_with_the_next_change(silences: Silences, clock: Clock, tmp_path: Path) -> None:
    silences.add("old", "known", 1100.0)
    clock.now = 1200.0
    silences.add("new", "known", 2000.0)
    assert "old" not in (tmp_path / "silences.json").read_text()


@pytest.mark.parametrize(
    ("promise", "reason", "until", "message"),
    [
        ("", "known", 2000.0, "the silence has no promise. Give its promise."),
        ("page", " ", 2000.0, "the silence has no reason. Give its reason."),
        ("page", "a\nb", 2000.0, "the reason is no line of at most 500 characters. Write it shorter."),
        ("page", "x" * 501, 2000.0, "the reason is no line of at most 500 characters. Write it shorter."),
        ("page", "known", 1000.0, "the silence does not end within a year from now. Give an end in the future."),
        ("page", "known", 1e9, "the silence does not end within a year from now. Give an end in the future."),
        ("page", "known", math.nan, "the silence does not end within a year from now. Give an end in the future."),
    ],
)
def test_a_silence_without_reason_or_end_is_refused(
    silences: Silences, promise: str, reason: str, until: float, message: str
) -> None:
    with pytest.raises(AllotmentError) as caught:
        silences.add(promise, reason, until)
    assert str(caught.value) == message


def test_a_broken_file_silences_nothing_and_is_told_once(
    silences: Silences, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    silences.add("page", "known", 2000.0)
    (tmp_path / "silences.json").write_text('{"format": 1, "silences": [')
    for _ in range(3):
        assert not silences.told("part0", "page")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    with pytest.raises(AllotmentError, match=r"silences\.json"):
        silences.active()


def test_a_silence_is_heard_and_told_to_the_master_though_its_promise_runs_once_an_hour(
    make_agent: Callable[..., Any],
    master: Any,
    engines: Any,
    document: Callable[..., Any],
    until: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agents, "_WATCH_PERIOD", 0.1)
    engines.promises["part0"] = {"disk": ("failed", "full")}
    engines.timing = {"disk": Timing("", 3600.0)}
    agent = make_agent(settle=0.2)
    agent.start()
    master.set(document())

    def is_told(status: InstanceStatus, silence: str) -> bool:
        last = master.last("part0")
        return last is not None and (last.status, [item.silence for item in last.promises]) == (status, [silence])

    until(lambda: is_told(InstanceStatus.RED, ""))
    made = agent.silences.add("part0/disk", "new one on Friday", time.time() + 60.0, "ann")
    until(lambda: is_told(InstanceStatus.GREEN, "ann: new one on Friday"))
    agent.silences.end(made.id)
    until(lambda: is_told(InstanceStatus.RED, ""))
