# SPDX-License-Identifier: Apache-2.0
"""Promises that somebody runs by hand are judged by the agent too, however rarely they run otherwise."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.cli import main
from allotment.messages.desired_state import InstanceStatus
from allotment_node import agent as agents
from allotment_node import reruns
from allotment_node.config import dump
from allotment_promises.catalogue import Timing

Make = Callable[..., Any]


def test_an_instance_is_green_soon_after_its_promise_was_run_by_hand(
    make_agent: Make,
    node_folder: Any,
    config: Any,
    master: Any,
    engines: Any,
    document: Make,
    until: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agents, "_WATCH_PERIOD", 0.1)
    engines.promises["part0"] = {"backup": ("failed", "too old")}
    engines.timing = {"backup": Timing("", 86400.0)}
    agent = make_agent(settle=0.2)
    agent.start()
    master.set(document())
    until(lambda: (last := master.last("part0")) and last.status is InstanceStatus.RED)
    folder = node_folder.partition("part0") / "etc/promise"
    folder.mkdir(parents=True)
    (folder / "backup.json").write_text(
        '{"format": 1, "type": "check_file_state", "options": {"filename": "etc"}, "period": 86400}'
    )
    engines.promises["part0"] = {"backup": ("passed", "new")}
    node_folder.config.write_text(dump(config))
    with node_folder.lock:  # as of an agent
        assert main(["promise", "run", "--folder", str(node_folder.root), "part0/backup"]) == 0
    until(lambda: master.last("part0").status is InstanceStatus.GREEN)
    assert list(node_folder.reruns.iterdir()) == []


def test_what_is_asked_for_is_taken_once_and_nonsense_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reruns.ask(tmp_path, "part1", ["page", "disk"])
    (tmp_path / "part2.x").write_text("[")
    (tmp_path / "part3.x").write_text("7")
    (tmp_path / ".part4.x.new").write_text("half")
    assert list(reruns.take(tmp_path)) == [("part1", ["disk", "page"])]
    assert [path.name for path in tmp_path.iterdir()] == [".part4.x.new"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert list(reruns.take(tmp_path)) == []
