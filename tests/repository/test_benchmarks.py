# SPDX-License-Identifier: Apache-2.0
"""Benchmarks measure in turn and print what whoever compares figures expects."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

KEYS = {"id", "ours", "peer", "unit", "ratio", "goal", "holds", "machine"}


@pytest.fixture
def measure(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("benchmarks/measure.py")


def test_the_runs_are_measured_in_turn_and_the_first_round_does_not_count(measure: ModuleType) -> None:
    order: list[str] = []

    def run(name: str) -> object:
        order.append(name)
        return measure.Sample(float(len(order)), 0.0)

    samples = measure.alternately({"ours": lambda: run("ours"), "peer": lambda: run("peer")}, rounds=2)
    assert order == ["ours", "peer"] * 3
    assert [item.wall for item in samples["ours"]] == [3.0, 5.0]
    assert measure.median(samples["peer"]).wall == 5.0


@pytest.mark.parametrize(("peer", "ratio"), [(61.0, 30.5), (None, None)])
def test_a_result_is_one_object_on_one_line(measure: ModuleType, peer: float | None, ratio: float | None) -> None:
    result = measure.Result("B5", "pass", 2.0, peer, "s", "<= 3 s", True, {"cpu": 1.5})
    line = result.as_json()
    assert "\n" not in line
    data = json.loads(line)
    assert data.keys() >= KEYS | {"cpu"}
    assert data["ratio"] == ratio


@pytest.mark.xdist_group("heavy")
def test_a_benchmark_runs_by_itself(root: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.b20", "--quick", "--json"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)
    data = json.loads(done.stdout)
    assert data["id"] == "B20" and data.keys() >= KEYS
    assert done.returncode == (0 if data["holds"] else 1)
