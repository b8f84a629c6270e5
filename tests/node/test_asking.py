# SPDX-License-Identifier: Apache-2.0
"""Instances that ask to be processed again: they get it without a master, and not as often as they like."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from allotment.messages.desired_state import InstanceStatus
from allotment.messages.instance import InstancePublished, InstanceRequests, InstanceState
from allotment_node.asking import AskLimit
from allotment_node.partition import ASKED_LIMIT
from allotment_recipes.engine import InstanceResult

Make = Callable[..., Any]


def settle(agent: Any) -> None:
    assert agent.run_once(("software", "partition"), 30.0)


@pytest.fixture
def asked(node_folder: Any) -> Path:
    """The file by which the instance in part0 asks."""
    return Path(node_folder.partition("part0")) / ".allotment" / "process"


def test_what_an_instance_asks_for_is_done_and_published_while_the_agent_runs(
    make_agent: Make, master: Any, engines: Any, document: Make, until: Make, tell: Make, asked: Path
) -> None:
    def recipes(folder: Path, given: Mapping[str, Any]) -> None:
        found = asked.read_text() if asked.exists() else ""
        tell(folder, InstanceRequests(True), InstancePublished({"asked": found}))

    engines.recipes = recipes
    engines.promises["part0"] = {"up": ("passed", "")}
    agent = make_agent()
    agent.start()
    master.set(document())
    until(lambda: (last := master.last("part0")) and last.status is InstanceStatus.GREEN)
    asked.write_text("taken over\n")
    seen = until(lambda: (last := master.last("part0")).published.values["asked"] and last)
    assert seen.published.values == {"asked": "taken over\n"}
    until(lambda: master.last("part0").status is InstanceStatus.GREEN)
    assert engines.runs == ["part0"] * 2


def test_it_is_done_once_also_after_the_agent_was_started_anew(
    make_agent: Make, master: Any, engines: Any, document: Make, asked: Path
) -> None:
    master.set(document())
    settle(make_agent())
    asked.write_text("again\n")
    for _ in range(2):
        settle(make_agent())
        assert len(engines.runs) == 2


def test_who_asks_for_ever_is_not_processed_for_ever(
    make_agent: Make, master: Any, engines: Any, document: Make, asked: Path
) -> None:
    engines.recipes = lambda folder, given: asked.write_text(f"{len(engines.runs)}\n") and None
    master.set(document())
    agent = make_agent()
    settle(agent)
    assert agent.instances.asking() == ["part0"]
    for _ in range(3):
        settle(agent)
        assert agent.instances.asking() == []
    assert len(engines.runs) == 2
    master.set(document(generation=2, parameters={"n": 1}))  # a change from the master is done at any time
    settle(agent)
    assert len(engines.runs) == 3


def test_promises_that_stay_broken_delay_nothing_that_the_instance_asks_for(
    make_agent: Make, master: Any, document: Make, engines: Any, asked: Path
) -> None:
    master.set(document())
    agent = make_agent()
    settle(agent)
    assert agent.instances.ask("part0")
    settle(agent)
    assert not agent.instances.ask("part0")
    assert len(engines.runs) == 2
    asked.write_text("taken over\n")
    settle(agent)
    assert len(engines.runs) == 3


def test_an_asked_for_processing_that_fails_is_tried_again_as_any_other(
    make_agent: Make, master: Any, engines: Any, document: Make, asked: Path
) -> None:
    master.set(document())
    agent = make_agent()
    settle(agent)
    asked.write_text("again\n")
    engines.recipes = lambda folder, given: InstanceResult("failed", "no", (), 0.0)
    settle(agent)
    engines.recipes = lambda folder, given: None
    settle(agent)
    settle(agent)
    assert len(engines.runs) == 3


def link(path: Path) -> None:
    path.with_name("elsewhere").write_text("again\n")
    path.symlink_to("elsewhere")


@pytest.mark.parametrize(
    "make",
    [
        Path.touch,
        Path.mkdir,
        link,
        os.mkfifo,
        lambda path: path.write_bytes(bytes(ASKED_LIMIT + 1)),
    ],
    ids=["empty", "folder", "link", "pipe", "long"],
)
def test_what_is_no_short_file_asks_for_nothing(
    make_agent: Make, master: Any, engines: Any, document: Make, asked: Path, make: Callable[[Path], Any]
) -> None:
    master.set(document())
    agent = make_agent()
    settle(agent)
    make(asked)
    assert agent.instances.asking() == []
    settle(agent)
    assert engines.runs == ["part0"]


def test_a_destroyed_instance_asks_for_nothing(
    make_agent: Make, master: Any, engines: Any, document: Make, asked: Path
) -> None:
    master.set(document())
    agent = make_agent()
    settle(agent)
    asked.write_text("again\n")
    master.set(document(generation=2, state=InstanceState.DESTROYED))
    settle(agent)
    assert (agent.instances.asking(), engines.runs) == ([], ["part0"])


def test_pauses_grow_and_end() -> None:
    now = 0.0
    limit = AskLimit(lambda: now)

    def pause() -> float:
        nonlocal now
        limit.note("part0")
        began = now
        while not limit.may("part0"):
            now += 5.0
        return now - began

    assert limit.may("part0")
    assert [pause() for _ in range(8)] == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert limit.may("part1")
    now += 3601
    assert pause() == 60
    limit.note("part0")
    limit.forget("part0")
    assert limit.may("part0")
