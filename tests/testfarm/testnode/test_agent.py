# SPDX-License-Identifier: Apache-2.0
"""When a test node takes jobs and when it does not, in this process; test_testnode.py has the program."""

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from allotment.messages.job import Outcome
from allotment.secret import Secret
from allotment_testfarm.testnode import agent
from allotment_testfarm.testnode.agent import TestNode
from allotment_testfarm.testnode.host import HostFigures, Wanted
from allotment_testfarm.testnode.surroundings import Surroundings
from allotment_testfarm.testnode.wire_client import WireClient

PLENTY = HostFigures(0.5, memory_free=1_000_000_000, disk_free=1_000_000_000_000)
FULL = replace(PLENTY, disk_free=1_200_000_000)
TOKEN = "wire-token-0123456789"


class Machine:
    """A machine whose figures a test sets."""

    def __init__(self) -> None:
        self.figures = PLENTY
        self.errors: list[Exception] = []  # of the next looks

    def measure(self, folder: Path) -> HostFigures:
        if self.errors:
            raise self.errors.pop()
        return self.figures


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def start(
    engine: Any, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., TestNode]]:
    """Start a test node on a thread; it is stopped, its jobs given back, after the test."""
    monkeypatch.setattr(agent, "_LOOK_AGAIN", 0.1)
    wire = WireClient(engine.url, Secret(TOKEN))
    started: list[tuple[TestNode, threading.Thread]] = []

    def run(**settings: Any) -> TestNode:
        node = TestNode(tmp_path / "node", wire, "t1", wanted=Wanted(), measure=machine.measure, **settings)
        thread = threading.Thread(target=node.run)
        thread.start()
        started.append((node, thread))
        return node

    yield run
    for node, thread in started:
        node.stop()
        node.stop()
        thread.join(60)
        assert not thread.is_alive()
    wire.close()


def test_idle_test_node_tells_its_figures(engine: Any, start: Callable[..., TestNode]) -> None:
    start()
    engine.wait_for(lambda: engine.requests)
    request = engine.requests[0]
    assert (request["load"], request["memory_free"], request["disk_free"]) == (0.5, 1_000_000_000, 1_000_000_000_000)
    assert (request["refuses"], request["wait"] > 0) == ("", True)


def test_full_test_node_says_why_it_takes_no_job_and_takes_one_when_there_is_space_again(
    engine: Any, machine: Machine, start: Callable[..., TestNode]
) -> None:
    machine.figures = FULL
    engine.submit([sys.executable, "-c", "pass"])
    start()
    engine.wait_for(lambda: len(engine.requests) >= 3)
    assert {request["refuses"] for request in engine.requests} == {"has little disk space: 1.2 GB free, 2.0 GB wanted"}
    assert engine.requests[0]["disk_free"] == 1_200_000_000
    assert engine.results == []
    machine.figures = PLENTY
    assert engine.result().outcome == Outcome.PASSED


def test_test_node_with_little_memory_takes_no_job(
    engine: Any, machine: Machine, start: Callable[..., TestNode]
) -> None:
    machine.figures = replace(PLENTY, memory_free=100_000_000)
    start()
    engine.wait_for(lambda: engine.requests)
    assert engine.requests[0]["refuses"] == "has little memory: 100.0 MB free, 512.0 MB wanted"


def test_full_test_node_removes_what_earlier_jobs_have_left_and_nothing_else(
    engine: Any, machine: Machine, start: Callable[..., TestNode], tmp_path: Path
) -> None:
    node = start(slots=2)
    engine.submit([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"])
    engine.wait_for(lambda: b"up" in engine.log)
    stale = node.folder / "jobs/77-1"
    stale.mkdir()
    machine.figures = FULL
    engine.submit([sys.executable, "-c", "pass"])  # ends the long poll of the second slot
    engine.wait_for(lambda: any(request["refuses"] for request in engine.requests))
    assert [path.name for path in (node.folder / "jobs").iterdir()] == ["1-1"]


def test_full_test_node_says_so_in_the_heartbeats_of_its_jobs(
    engine: Any, machine: Machine, start: Callable[..., TestNode]
) -> None:
    start()
    engine.submit([sys.executable, "-c", "import time; time.sleep(600)"])
    engine.wait_for(lambda: engine.heartbeats)
    assert engine.heartbeats[0]["refuses"] == ""
    machine.figures = FULL
    engine.wait_for(lambda: engine.heartbeats[-1]["refuses"] == "has little disk space: 1.2 GB free, 2.0 GB wanted")


def test_stopping_test_node_tells_the_engine_at_once_and_with_each_heartbeat(
    engine: Any, start: Callable[..., TestNode]
) -> None:
    node = start()
    engine.submit([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"])
    engine.wait_for(lambda: b"up" in engine.log)
    node.stop()
    engine.wait_for(lambda: engine.requests[-1]["refuses"] == "is stopping")
    engine.wait_for(lambda: engine.heartbeats[-1]["refuses"] == "is stopping")
    assert engine.results == []  # it has 60 s to end


class Upgraded(Surroundings):
    """Software that a test exchanges."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 1
        self.kinds = ("command",)
        self.errors: list[Exception] = []  # of the next looks

    def have_changed(self) -> bool:
        if self.errors:
            raise self.errors.pop()
        return self.environment != {"tool": str(self.number)}

    def measure(self) -> None:
        self.environment = {"tool": str(self.number)}


def test_job_that_was_given_for_other_software_is_given_back_and_the_engine_is_told(
    engine: Any, start: Callable[..., TestNode]
) -> None:
    engine.longest_wait = 20.0
    surroundings = Upgraded()
    start(surroundings=surroundings)
    engine.wait_for(lambda: engine.requests)
    surroundings.number = 2  # while it waits for a lease
    engine.submit([sys.executable, "-c", "pass"])
    engine.submit([sys.executable, "-c", "pass"])
    engine.wait_for(lambda: len(engine.results) == 2)
    first, second = engine.results
    assert (first.outcome, first.reason) == (
        Outcome.INFRASTRUCTURE,
        "other software was installed on test node t1",
    )
    assert first.given_back and not second.given_back
    assert second.outcome == Outcome.PASSED
    assert [hello["environment"] for hello in engine.hellos] == [{"tool": "1"}, {"tool": "2"}]


def test_slot_takes_jobs_again_after_what_is_installed_could_not_be_looked_at(
    engine: Any, start: Callable[..., TestNode]
) -> None:
    surroundings = Upgraded()
    start(surroundings=surroundings)
    engine.wait_for(lambda: engine.requests)
    surroundings.errors = [OSError("site-packages is being replaced")] * 2
    engine.submit([sys.executable, "-c", "pass"])  # the first look comes with the lease, the second before the next one
    engine.submit([sys.executable, "-c", "pass"])
    assert engine.result().outcome == Outcome.PASSED
    assert surroundings.errors == []


def test_slot_takes_jobs_again_after_the_machine_could_not_be_looked_at(
    engine: Any, machine: Machine, start: Callable[..., TestNode]
) -> None:
    machine.errors = [OSError("a disk that is away")] * 2
    start()
    engine.submit([sys.executable, "-c", "pass"])
    assert engine.result().outcome == Outcome.PASSED
    assert machine.errors == []
