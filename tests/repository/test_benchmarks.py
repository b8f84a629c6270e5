# SPDX-License-Identifier: Apache-2.0
"""Benchmarks measure in turn and print what whoever compares figures expects."""

import json
import os
import socketserver
import subprocess
import sys
import threading
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


def run_code(root: Path, code: str, **variables: str) -> str:
    """Run code that may import the benchmarks, and return what it prints."""
    environment = {**os.environ, **variables}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_benchmark_says_what_it_measures(root: Path) -> None:
    code = (
        "import importlib, pkgutil, re, benchmarks\n"
        "names = [item.name for item in pkgutil.iter_modules(benchmarks.__path__)]\n"
        "names = [name for name in names if re.fullmatch(r'b\\d+', name)]\n"
        "modules = [importlib.import_module(f'benchmarks.{name}') for name in names]\n"
        "print(*(name for name, module in zip(names, modules) if callable(module.measure) and module.__doc__))\n"
    )
    assert {"b13", "b14", "b15", "b16", "b17", "b18"} <= set(run_code(root, code).split())


def test_what_a_measured_job_prints_has_lines_of_100_bytes(root: Path) -> None:
    code = "import sys; sys.argv[1:] = ['3', '0.001']; import benchmarks.emit"
    lines = run_code(root, code).splitlines(keepends=True)
    assert [len(line) for line in lines] == [100] * 3
    assert all(" t=" in line for line in lines)


@pytest.mark.xdist_group("heavy")
def test_our_farm_is_measured_without_any_peer(root: Path, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from benchmarks import b13, b14; from benchmarks.farm import Farm, Node\n"
        f"with Farm(Path({str(tmp_path)!r})) as farm, farm.client() as client:\n"
        "    node = Node(client, 'bench')\n"
        "    print(b13.one_commit(farm, node) > 0, b13.one_retry(farm, node, 1) > 0, b14.ours(farm, 8).jobs)\n"
    )
    assert run_code(root, code) == "True True 8\n"


@pytest.mark.xdist_group("heavy")
def test_a_peer_that_cannot_be_installed_is_said_to_be_missing(root: Path, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from benchmarks import peers\n"
        f"peers.FOLDER = Path({str(tmp_path)!r})\n"
        "try:\n"
        "    peers.virtualenv('buildbot', peers.BUILDBOT)\n"
        "except peers.MissingError as error:\n"
        "    print(error)\n"
    )
    assert run_code(root, code, PIP_NO_INDEX="1") == "buildbot==4.3.0 is not here and can't be installed\n"


class _Answers(socketserver.StreamRequestHandler):
    """Answers twice, once by length and once in chunks, and hangs up when asked a third time."""

    def handle(self) -> None:
        for answer in (
            b"Content-Length: 3\r\n\r\none",
            b"Transfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n",
            b"",
        ):
            while self.rfile.readline().strip():
                continue
            self.wfile.write(b"HTTP/1.1 200 OK\r\n" + answer if answer else b"")


def test_readers_count_whole_answers_and_those_that_never_come(root: Path) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = str(server.server_address[1])
        command = [sys.executable, "benchmarks/readers.py", port, "/", "2", "0"]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=True)
        longer = subprocess.run(
            [*command[:-1], "0.3"], cwd=root, capture_output=True, text=True, timeout=60, check=True
        )
        server.shutdown()
    few, many = json.loads(done.stdout), json.loads(longer.stdout)
    assert (few["answers"], few["lost"], few["refused"]) == (2, 0, 0)
    assert many["lost"] > 0 and many["answers"] >= 4 and many["refused"] == 0
