# SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.codec import dumps, loads
from allotment.messages.instance import InstanceInput, InstancePublished, InstanceState
from allotment_promises import Metric
from allotment_promises.launcher import Launcher
from allotment_recipes.engine import BuildEngine, InstanceRun
from allotment_recipes.manifest import build_release

Allot = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def listing(allot: Allot, installed: Path) -> dict[str, dict[str, Any]]:
    """The sample's items in ``allot plugins --json``, by kind."""
    result = allot("plugins", "--json", plugins=(installed,))
    assert result.returncode == 0, result.stderr
    items = json.loads(result.stdout)["items"]
    return {item["kind"]: item for item in items if item["distribution"] == "sample-plugin"}


def test_items_are_listed_with_their_origin(listing: dict[str, dict[str, Any]]) -> None:
    assert {kind: item["name"] for kind, item in listing.items()} == {
        "recipe": "greeting",
        "promise": "check_greeting",
        "command": "sample greet",
    }
    assert {(item["plugin"], item["version"]) for item in listing.values()} == {("sample", "1.2")}


def test_options_are_listed_with_type_default_and_doc(listing: dict[str, dict[str, Any]]) -> None:
    assert listing["recipe"]["doc"] == "Write a greeting to ``output``; others read it as ``${section:text}``."
    assert listing["recipe"]["options"] == [
        {"name": "to", "type": "text", "default": None, "doc": "who is greeted"},
        {"name": "output", "type": "path", "default": None, "doc": "the file that is written"},
        {"name": "loud", "type": "true or false", "default": "false", "doc": "in capital letters"},
    ]
    assert listing["promise"]["options"][1] == {
        "name": "to",
        "type": "text",
        "default": None,
        "doc": "who must be greeted",
    }


def test_command_runs_and_its_errors_are_said(allot: Allot, installed: Path) -> None:
    result = allot("sample", "greet", "World", plugins=(installed,))
    assert (result.returncode, result.stdout) == (0, "Hello World!\n")
    result = allot("sample", "greet", " ", plugins=(installed,))
    assert (result.returncode, result.stderr) == (1, "error: the name is empty. Say whom to greet.\n")
    assert "Greet somebody." in allot("sample", "--help", plugins=(installed,)).stdout


def test_broken_plugin_is_reported_and_the_others_work(allot: Allot, installed: Path, broken: Path) -> None:
    result = allot("plugins", "--json", plugins=(installed, broken))
    assert result.returncode == 0
    listing = json.loads(result.stdout)
    assert [item for item in listing["broken"] if item["distribution"] == "broken-plugin"] == [
        {
            "plugin": "broken",
            "distribution": "broken-plugin",
            "version": "0.3",
            "reason": "ModuleNotFoundError: No module named 'a_module_that_is_not_there'",
        }
    ]
    assert "greeting" in {item["name"] for item in listing["items"]}
    line = (
        "plugin broken of broken-plugin 0.3 is broken:"
        " ModuleNotFoundError: No module named 'a_module_that_is_not_there'\n"
    )
    assert line in result.stderr


def test_recipe_is_registered_with_buildout_too(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "from importlib.metadata import entry_points; from allotment.plugins import load, plugins\n"
        "types = plugins().items('allotment_recipe_types')\n"
        "(mine,) = [item for item in types if item.distribution == 'sample-plugin']\n"
        "(point,) = [point for point in entry_points(group='zc.buildout') if point.dist.name == mine.distribution]\n"
        "assert point.name == mine.name and point.load() is load(mine.target)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(installed), prepend=os.pathsep)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_promise_runs_in_the_launcher(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(installed), prepend=os.pathsep)
    (tmp_path / "etc/promise").mkdir(parents=True)
    options = {"filename": "greeting.txt", "to": "World"}
    file = {"format": 1, "type": "check_greeting", "options": options}
    (tmp_path / "etc/promise/greets.json").write_text(json.dumps(file))
    with Launcher() as launcher:
        (result,) = launcher.run(tmp_path)
        assert (result.status, result.message) == (
            "failed",
            "greeting.txt can't be read: No such file or directory",
        )
        (tmp_path / "greeting.txt").write_text("HELLO WORLD!\n")
        (result,) = launcher.run(tmp_path)
        assert (result.status, result.message) == ("passed", "greeting.txt says 'HELLO WORLD!'")
        assert result.metrics == {"length": Metric(12.0)}


def test_release_uses_the_recipe_and_the_promise(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(installed), prepend=os.pathsep)
    release = Path(__file__).parent / "software/sample"
    partition = tmp_path / "part0"
    (partition / ".allotment").mkdir(parents=True)
    given = InstanceInput(
        *("inst-1", "sample", "sample", "node-1", "part0", InstanceState.STARTED, "default", "f" * 64, ("127.0.0.9",)),
        parameters={"to": "Everybody", "loud": True},
    )
    (partition / ".allotment/instance.json").write_bytes(dumps(given))
    with BuildEngine() as engine, Launcher() as launcher:
        log = tmp_path / "log"
        built = build_release(
            release / "software.cfg", release, tmp_path / "release", tmp_path / "sources", engine, log
        )
        assert built.manifest.name == "sample"
        result = engine.instance(InstanceRun(tmp_path / "release", partition), log)
        assert (result.outcome, result.error) == ("done", ""), log.read_text()
        (promise,) = launcher.run(partition)
    assert (promise.name, promise.status) == ("greets", "passed")
    published = loads(InstancePublished, (partition / ".allotment/published.json").read_bytes())
    assert published.values == {"greeting": "HELLO EVERYBODY!"}


def test_release_passes_a_farm_job_where_the_plugin_is_installed(installed: Path, tmp_path: Path) -> None:
    # An environment of its own that sees this one's distributions and the plugin: a job takes no PYTHONPATH along.
    venv.create(tmp_path / "environment", symlinks=True)
    packages = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(tmp_path / "environment")}))
    folders = [*filter(None, sys.path), str(installed)]
    (packages / "all.pth").write_text("".join(f"import site; site.addsitedir({folder!r})\n" for folder in folders))
    release = Path(__file__).parent / "software/sample"
    with tempfile.TemporaryDirectory(prefix="sample-") as folder:  # short: the job makes unix sockets in it
        command = [str(tmp_path / "environment/bin/python"), "-m", "allotment", "release", "test", str(release)]
        result = subprocess.run(
            [*command, "--folder", folder, "--json"],
            capture_output=True,
            text=True,
            timeout=110,
            stdin=subprocess.DEVNULL,
        )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "promise greets: passed" in result.stdout + result.stderr
