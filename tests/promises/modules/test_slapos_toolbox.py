# SPDX-License-Identifier: Apache-2.0
"""Plugins of the real slapos.toolbox, unchanged, without slapos.core: each passes once and fails once."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from allotment_promises.launcher import Launcher, PromiseResult

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
try:
    from toolbox import CASES, world
finally:
    del sys.path[0]

TOOLBOX = "slapos.toolbox==0.170"
# What its plugins import; slapos.core, which it asks for, is what we stand in for.
NEEDED = (
    *("zope.interface==8.7", "six==1.17.0", "psutil==7.2.2", "requests==2.34.2", "python-dateutil", "croniter==7.0.0"),
    *("pyasn1-modules==0.4.2", "pytz", "tzlocal==5.4.5", "websocket-client==1.9.2", "distro==1.9.0", "setuptools<81"),
)
BAD_RUNS = 3  # in operation: as many as most plugins want before they say that it is broken
LOAD_RUNS = 10  # what check_server_cpu_load wants


@pytest.fixture(scope="module")
def eggs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the distributions, installed as anybody would; pip has its own cache."""
    folder = tmp_path_factory.mktemp("eggs")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder)]
    for packages in (["--no-deps", TOOLBOX], list(NEEDED)):
        done = subprocess.run([*pip, *packages], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            pytest.skip(f"needs the Python index: {done.stdout[-300:]}")
    return folder


@pytest.fixture(scope="module")
def results(
    eggs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, str], list[PromiseResult]]]:
    """What each plugin said in both partitions: first after a deployment, then in operation."""
    folder = tmp_path_factory.mktemp("w")
    found: dict[tuple[str, str], list[PromiseResult]] = {}
    with world(folder) as words, Launcher(idle=600.0) as launcher:
        for half in ("good", "bad"):
            partition = _partition(folder, half, eggs, words)
            runs = [launcher.run(partition, "test")]
            runs += [launcher.run(partition, "anomaly") for _ in range(1 if half == "good" else BAD_RUNS)]
            if half == "bad":
                names = ["check_server_cpu_load"]
                runs += [launcher.run(partition, "anomaly", names) for _ in range(LOAD_RUNS - BAD_RUNS - 1)]
            for result in (result for run in runs for result in run):
                found.setdefault((half, result.name), []).append(result)
        yield found


def _partition(folder: Path, half: str, eggs: Path, words: dict[str, str]) -> Path:
    partition = folder / f"part-{half}"
    (partition / "etc/plugin").mkdir(parents=True)
    (partition / "var/log").mkdir(parents=True)
    (partition / ".slapgrid-bad-error.log").write_text("what went wrong\n")
    for plugin, (both, good, bad, _) in CASES.items():
        config = {name: _fill(value, words) for name, value in {**both, **(good if half == "good" else bad)}.items()}
        text = (
            f"#!{sys.executable}\nimport sys\nsys.path[0:0] = [\n  {str(eggs)!r},\n]\nextra_config_dict = {config!r}\n"
            f"from slapos.promise.plugin.{plugin} import RunPromise\n"
        )
        (partition / f"etc/plugin/{plugin}.py").write_text(text)
    return partition


def _fill(value: Any, words: dict[str, str]) -> Any:
    return value.format(**words) if isinstance(value, str) else value


def test_there_are_enough() -> None:
    assert len(CASES) >= 30


@pytest.mark.parametrize("plugin", CASES)
def test_it_passes(results: dict[tuple[str, str], list[PromiseResult]], plugin: str) -> None:
    assert [(item.status, item.message) for item in results["good", plugin] if item.status != "passed"] == []


@pytest.mark.parametrize("plugin", CASES)
def test_it_fails(results: dict[tuple[str, str], list[PromiseResult]], plugin: str) -> None:
    last = results["bad", plugin][-1]
    assert (last.status, CASES[plugin][3] in last.message or last.message) == ("failed", True)
