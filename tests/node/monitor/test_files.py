# SPDX-License-Identifier: Apache-2.0
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from allotment.codec import loads
from allotment.messages.desired_state import InstanceStatus, ObservedInstance, ObservedPromise
from allotment.messages.promise_states import PromiseStates
from allotment.messages.silences import Silence
from allotment_node.monitor.files import Monitor
from allotment_promises.measurement import Metric
from allotment_promises.result import PromiseResult, PromiseStatus


class Node:
    """What a monitor sees: one instance with promises, silences, time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 100.0
        self.instance = ObservedInstance("part0", "hello", 1, InstanceStatus.GREEN)
        self.silences: dict[str, Silence] = {}
        self.observe(page=("passed", 1.0), disk=("passed", 2.0))

    def observe(self, **promises: tuple[str, float]) -> None:
        found = tuple(ObservedPromise(name, status, "text", time) for name, (status, time) in promises.items())
        self.instance = replace(self.instance, promises=found)

    def monitor(self) -> Monitor:
        return Monitor(
            self.folder / "monitor",
            "node-1",
            "https://m.example/",
            lambda: [self.instance],
            lambda: list(self.silences.values()),
            lambda: self.now,
        )

    def states(self) -> PromiseStates:
        return loads(PromiseStates, (self.folder / "monitor/promises.json").read_bytes())

    def stamps(self) -> list[int]:
        return [path.stat().st_mtime_ns for path in sorted((self.folder / "monitor").iterdir())]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def _run(name: str, value: float, started: float = 5.0) -> PromiseResult:
    return PromiseResult(name, PromiseStatus.PASSED, "fine", started, 0.5, {"free": Metric(value, "B")})


def test_states_runs_and_silences_are_written(node: Node) -> None:
    node.silences["disk"] = Silence("5f0c1e9a", "disk", "ada", "known", 0.0, 9.0)
    monitor = node.monitor()
    monitor.ran("part0", [_run("page", 7.0)])
    monitor.look()
    disk, page = node.states().promises
    assert (page.status, page.since, page.message, page.time, page.seconds) == ("passed", 1.0, "fine", 5.0, 0.5)
    assert {name: (item.value, item.unit) for name, item in page.metrics.items()} == {"free": (7.0, "B")}
    assert (disk.message, disk.time, disk.metrics, disk.silence) == ("text", 2.0, {}, node.silences["disk"])
    assert "allotment_promise_metric_free_bytes" in (node.folder / "monitor/promises.prom").read_text()
    assert ElementTree.fromstring((node.folder / "monitor/changes.rss").read_bytes()).tag == "rss"
    assert {path.stat().st_mode & 0o777 for path in (node.folder / "monitor").iterdir()} == {0o644}


def test_runs_of_promises_that_are_gone_are_forgotten(node: Node) -> None:
    monitor = node.monitor()
    monitor.ran("part0", [_run("soon", 1.0)])
    monitor.look()
    node.observe(soon=("passed", 3.0))
    monitor.look()
    assert node.states().promises[0].metrics["free"].value == 1.0
    node.observe(page=("passed", 4.0))
    monitor.look()
    node.observe(soon=("passed", 5.0))
    monitor.look()
    assert node.states().promises[0].metrics == {}


def test_files_are_written_only_when_something_has_changed(node: Node) -> None:
    monitor = node.monitor()
    monitor.look()
    before = node.stamps()
    node.now += 1000.0
    monitor.look()
    assert node.stamps() == before
    node.observe(page=("failed", 9.0), disk=("passed", 2.0))
    monitor.look()
    assert all(one != two for one, two in zip(before, node.stamps(), strict=True))


def test_numbers_are_written_now_and_then_and_a_change_of_status_at_once(node: Node) -> None:
    monitor = node.monitor()
    monitor.look()
    values = []
    for number in range(5):
        monitor.ran("part0", [_run("page", float(number))])
        monitor.look()
        values.append([item.value for item in node.states().promises[1].metrics.values()])
        node.now += 5.0
    assert values == [[], [], [], [3.0], [3.0]]
    node.observe(page=("failed", 9.0), disk=("passed", 2.0))
    monitor.look()
    assert [item.value for item in node.states().promises[1].metrics.values()] == [4.0]


def _told(node: Node) -> list[tuple[str, str, str, float]]:
    return [(item.promise, item.before, item.status, item.time) for item in node.states().changes]


def test_changes_are_told_newest_first_and_once_over_restarts(node: Node) -> None:
    node.monitor().look()
    assert _told(node) == []
    node.observe(page=("failed", 9.0), disk=("passed", 2.0), new=("error", 8.0))
    node.monitor().look()
    expected = [("page", "passed", "failed", 9.0), ("new", "", "error", 8.0)]
    assert _told(node) == expected
    node.monitor().look()
    assert _told(node) == expected
    node.observe(page=("passed", 10.0), fine=("passed", 10.0))
    node.monitor().look()
    assert _told(node) == [("page", "failed", "passed", 10.0), *expected]


def test_no_more_than_two_hundred_changes_are_kept(node: Node) -> None:
    monitor = node.monitor()
    for number in range(250):
        node.observe(page=("failed" if number % 2 else "passed", float(number)))
        monitor.look()
    assert [item.time for item in node.states().changes] == [float(number) for number in range(249, 49, -1)]


def test_what_has_gone_is_not_told_any_more(node: Node) -> None:
    monitor = node.monitor()
    monitor.ran("part0", [_run("page", 1.0), _run("disk", 1.0)])
    monitor.look()
    node.observe(disk=("passed", 2.0))
    monitor.look()
    assert [item.name for item in node.states().promises] == ["disk"]


@pytest.mark.parametrize("data", [b"", b"{", b'{"format": 9}', b"\xff"])
def test_broken_file_is_made_anew(node: Node, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (node.folder / "monitor").mkdir()
    (node.folder / "monitor/promises.json").write_bytes(data)
    node.monitor().look()
    assert len(node.states().promises) == 2
    assert "promises.json" in caplog.text
    assert "It is made anew." in caplog.text


def test_folder_that_can_not_be_written_is_told_and_tried_again(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    (node.folder / "monitor").write_text("a file where the folder should be")
    monitor = node.monitor()
    monitor.look()
    assert "the states of promises can't be written" in caplog.text
    (node.folder / "monitor").unlink()
    monitor.look()
    assert len(node.states().promises) == 2


def test_running_agent_writes_the_files(
    make_agent: Callable[..., Any], master: Any, engines: Any, document: Callable[..., Any], until: Callable[..., Any]
) -> None:
    engines.promises["part0"] = {"page": ("failed", "down")}
    agent = make_agent(settle=0.0)
    agent.start()
    master.set(document())
    folder = agent.monitor.folder
    data = until(lambda: (folder / "promises.json").exists() and json.loads((folder / "promises.json").read_bytes()))
    until(lambda: json.loads((folder / "promises.json").read_bytes())["promises"], 40.0)
    data = json.loads((folder / "promises.json").read_bytes())
    assert [(item["name"], item["status"], item["message"]) for item in data["promises"]] == [
        ("page", "failed", "down")
    ]
    assert b'promise="page"' in (folder / "promises.prom").read_bytes()
    assert b"part0/page is broken: down" in (folder / "changes.rss").read_bytes()
