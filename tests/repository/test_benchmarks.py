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


def test_every_round_of_a_long_benchmark_counts(measure: ModuleType) -> None:
    samples = measure.alternately({"ours": lambda: measure.Sample(1.0, 0.0)}, rounds=2, uncounted=0)
    assert len(samples["ours"]) == 2


def test_the_cpu_of_processes_that_work_for_us_is_counted(measure: ModuleType) -> None:
    code = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert measure.processes_cpu() >= 0.25
        process.kill()


def test_components_are_built_after_those_that_they_refer_to(root: Path) -> None:
    code = (
        "from benchmarks import b01\n"
        "for names in (b01.FULL, b01.QUICK):\n"
        "    for number, name in enumerate(names):\n"
        "        print(name, set(b01._REFERENCE.findall(str(b01.read(name)))) <= set(names[:number]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) > 12
    assert [line for line in lines if not line.endswith(" True")] == []


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
