# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from allotment_promises import Measurement
from allotment_recipes.testing.local_engine import LocalEngine
from allotment_recipes.testing.partition import Partition

Measure = Callable[..., Measurement]
GOOD = "[buildout]\nparts = part\n[part]\nrecipe = allotment.recipes:publish\nuser = me\n"
CHILD = "[child]\nrecipe = allotment.recipes:request\nname = b\nrelease = shop\nreturn = user\n"
WAITS = GOOD.replace("user = me", "user = ${child:connection-user}") + CHILD
FAILS = GOOD.replace("publish\nuser = me", "template\noutput = x")


@pytest.fixture
def processed(tmp_path: Path) -> Iterator[Partition]:
    """A partition that was processed."""
    (tmp_path / "software").mkdir()
    (tmp_path / "part0").mkdir()
    with LocalEngine() as engine:
        made = Partition(tmp_path / "part0", tmp_path / "software", engine)
        assert made.run(GOOD).outcome == "done"
        yield made


def _state(measure: Measure) -> Measurement:
    return measure("check_partition_deployment_state", partition="part0")


def test_processing_is_told_by_what_it_leaves(measure: Measure, processed: Partition) -> None:
    done = _state(measure)
    assert done.is_passed
    assert done.message.startswith("part0 was processed ")
    assert done.metrics["waiting"].value == 0
    assert processed.run(FAILS).outcome == "failed"
    failed = _state(measure)
    assert not failed.is_passed
    assert failed.message.startswith("the processing of part0 ")
    assert failed.message.endswith(" ago failed: see the node's log of it")
    assert processed.run(WAITS).outcome == "waiting"
    waiting = _state(measure)
    assert waiting.is_passed
    assert ", 2 parts waiting: part: " in waiting.message
    assert waiting.metrics["waiting"].value == 2
    assert processed.run(GOOD).outcome == "done"
    assert _state(measure).is_passed


def test_run_that_was_broken_off_is_told_once_nobody_is_at_work(measure: Measure, processed: Partition) -> None:
    state = processed.folder / ".allotment"
    (state / "unfinished.json").write_text("{}")
    os.utime(state / "instance.json", (time.time(), time.time()))
    with subprocess.Popen(
        ["flock", str(state / "lock"), "sh", "-c", "echo locked; cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "locked\n"
        at_work = _state(measure)
        running.communicate()
    assert at_work.is_passed
    assert at_work.message.startswith("part0 is being processed since ")
    broken = _state(measure)
    assert not broken.is_passed
    assert broken.message.endswith(" ago was broken off, expected it to end")


def test_what_is_no_processed_partition_fails(measure: Measure, processed: Partition, tmp_path: Path) -> None:
    never = measure("check_partition_deployment_state", partition="part1")
    path = tmp_path / "part1/.allotment/instance.json"
    assert never == Measurement.failed(f"part1 was never processed: there is no {path}")
    (processed.folder / ".allotment/requests.json").write_text("{")
    os.utime(processed.folder / ".allotment/requests.json")
    damaged = _state(measure)
    assert not damaged.is_passed
    assert damaged.message.startswith("part0/.allotment/requests.json")
