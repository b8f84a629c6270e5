# SPDX-License-Identifier: Apache-2.0
"""Whole jobs of kind ``release``, at the desk: the programs that production uses, and a release's own tests."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from allotment.messages.desired_state import InstanceStatus, ObservedPromise
from allotment.messages.instance import InstanceState
from allotment.messages.service import InstanceInfo
from allotment_testfarm.release_fixtures import unique_name
from allotment_testfarm.testnode.embedded import DeployError, wait_green

REPOSITORY = Path(__file__).parent.parent.parent
TOKEN = "planted-secret-81732"
GOOD_TESTS = f"""
import urllib.request

def get(url, token=None):
    headers = {{"Authorization": f"Bearer {{token}}"}} if token else {{}}
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60).read().decode()

def test_default(default_instance):
    assert "Hello" in get(default_instance.published["url"])

def test_parameters(request_instance):
    token = {TOKEN!r}
    info = request_instance(parameters={{"greeting": "Good day", "token": token}})
    print("the token is", token)
    assert "Good day" in get(info.published["url"])
    get(info.published["url"] + "private", token)
"""
BAD_TESTS = f"""
def test_bad(default_instance):
    assert default_instance.name == "another"

def test_telling(request_instance):
    info = request_instance(parameters={{"token": {TOKEN!r}}})
    assert info is None, "the token is {TOKEN}"
"""


@dataclass
class Tree:
    """A small repository with one release in it, and a folder to work in."""

    root: Path

    @property
    def release(self) -> Path:
        return self.root / "software/helloworld"

    def start(self, *options: str) -> "subprocess.Popen[str]":
        """Start ``allot release test`` with a short folder."""
        call = "import sys; from allotment.cli import main; sys.exit(main())"
        words = ["release", "test", str(self.release), "--folder", str(self.root / "w"), *options]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ALLOTMENT_")}
        environment["TMPDIR"] = str(self.root)
        return subprocess.Popen(
            [sys.executable, "-c", call, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def test(self, *options: str) -> "subprocess.CompletedProcess[str]":
        """Run it to its end."""
        with self.start(*options) as process:
            out, error = process.communicate(timeout=110)
            return subprocess.CompletedProcess(process.args, process.returncode, out, error)

    def result(self, *options: str) -> dict[str, Any]:
        done = self.test("--json", *options)
        assert done.stdout, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == (0 if result["outcome"] == "passed" else 1)
        return {**result, "log": done.stderr}


@pytest.fixture
def tree() -> Iterator[Tree]:
    with tempfile.TemporaryDirectory(prefix="rt-") as folder:
        for name in ("helloworld", "stack"):
            ignored = shutil.ignore_patterns("test", "__pycache__")
            shutil.copytree(REPOSITORY / "software" / name, Path(folder) / "software" / name, ignore=ignored)
        yield Tree(Path(folder))


def put_tests(tree: Tree, text: str) -> None:
    (tree.release / "test").mkdir()
    (tree.release / "test/test_hello.py").write_text(text)


def add_part(tree: Tree, option: str = "") -> None:
    """Let the release build a shared part from an archive in its folder; ``option`` comes in place of its like."""
    makefile = "all:\n\ttrue\ninstall:\n\tmkdir -p $(PREFIX)\n\techo tiny > $(PREFIX)/tiny\n"
    archive = tree.release / "tiny.tar"
    with tarfile.open(archive, "w") as file:
        member = tarfile.TarInfo("tiny-1.0/Makefile")
        member.size = len(makefile)
        file.addfile(member, io.BytesIO(makefile.encode()))
    options = {
        "recipe": "allotment.recipes:cmmi",
        "version": "1.0",
        "url": "${:_profile_base_location_}/tiny.tar",
        "sha256sum": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "configure-command": "true",
        "make-options": "PREFIX=@@LOCATION@@",
    }
    if option:
        name, _, value = option.partition(" = ")
        options[name] = value
    lines = "".join(f"{name} = {value}\n" for name, value in options.items())
    profile = tree.release / "software.cfg"
    profile.write_text(profile.read_text().replace("parts =\n", "parts =\n  tiny\n") + f"\n[tiny]\n{lines}")


def processes_in(folder: Path) -> list[str]:
    found = []
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdigit() and str(folder) in (path / "cmdline").read_text():
                found.append((path / "cmdline").read_text())
        except OSError:
            continue
    return found


pytestmark = pytest.mark.xdist_group("release")


def test_release_with_good_tests_passes(tree: Tree) -> None:
    put_tests(tree, GOOD_TESTS)
    result = tree.result()
    assert (result["outcome"], result["reason"]) == ("passed", ""), result["log"]
    assert [step["name"] for step in result["steps"]] == ["build", "deploy", "test"]
    names = {(case["suite"], case["name"]) for case in result["cases"]}
    assert {("test.test_hello", "test_default"), ("checks", "has promises")} <= names
    lines = result["log"].splitlines()
    named = [(case["name"], case["line"] and lines[case["line"] - 1]) for case in result["cases"]]
    assert all(line and name in line for name, line in named), named
    assert ("default", "passed") in {(item["instance"], item["status"]) for item in result["promises"]}
    assert len(result["manifest"]) == 64
    assert processes_in(tree.root) == []
    assert sorted(path.name for path in (tree.root / "w").iterdir()) == ["lock", "log", "sources", "store"]


def test_release_with_bad_tests_fails_and_shows_no_secret(tree: Tree) -> None:
    put_tests(tree, BAD_TESTS)
    result = tree.result()
    assert result["outcome"] == "failed"
    assert result["reason"].startswith("2 of 6 test cases failed: test.test_hello test_")
    assert [(step["name"], step["outcome"]) for step in result["steps"]][-1] == ("test", "failed")
    assert "the token is <secret>" in result["log"]
    assert TOKEN not in json.dumps(result)
    assert result["manifest"] is None


def test_release_without_tests_passes_once_it_is_green(tree: Tree) -> None:
    done = tree.test()
    assert done.returncode == 0, done.stdout
    assert "the release has no tests of its own\n" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("passed after ")
    assert "ok                 0.00 s  checks has promises" in done.stdout


def test_parts_are_told_and_from_scratch_means_that_none_is_reused(tree: Tree) -> None:
    add_part(tree)
    began = time.time()
    first = tree.result()
    told = {(part["name"], part["version"], part["is_reused"]) for part in first["parts"]}
    assert told == {("tiny", "1.0", False)}, first["log"]
    assert first["parts"][0]["seconds"] > 0
    assert began < first["parts"][0]["started"] < time.time()
    again = tree.result("--from-scratch")
    assert [(part["is_reused"], part["seconds"] > 0) for part in again["parts"]] == [(False, True)], again["log"]
    assert (again["outcome"], again["manifest"]) == ("passed", first["manifest"])
    third = tree.result()
    assert [(part["is_reused"], part["seconds"]) for part in third["parts"]] == [(True, 0)]


@pytest.mark.parametrize(
    "option",
    [
        "url = http://127.0.0.1:1/tiny.tar",
        "host-tools = no-such-program",
        "pre-build = echo 'cp: ./x: No space left on device' >&2; exit 1",
    ],
    ids=["a server that is away", "a missing program", "a full disk"],
)
def test_trouble_of_the_machine_is_no_verdict_on_the_release(tree: Tree, option: str) -> None:
    add_part(tree, option)
    result = tree.result()
    assert result["outcome"] == "infrastructure", result["log"]
    assert result["reason"].startswith("helloworld can't be built")
    assert [(step["name"], step["outcome"]) for step in result["steps"]] == [("build", "infrastructure")]


def test_wrong_bytes_are_the_releases_fault(tree: Tree) -> None:
    add_part(tree)
    (tree.release / "tiny.tar").write_bytes(b"other bytes")
    result = tree.result()
    assert result["outcome"] == "failed", result["log"]


def test_profile_with_a_mistake_fails_in_the_build(tree: Tree) -> None:
    profile = tree.release / "software.cfg"
    profile.write_text(profile.read_text().replace("eggs = waitress", "egs = waitress"))
    result = tree.result()
    assert (result["outcome"], [step["name"] for step in result["steps"]]) == ("failed", ["build"])
    assert "egs" in result["log"]


def test_release_whose_instance_can_not_be_processed_fails(tree: Tree) -> None:
    profile = tree.release / "instance.cfg.in"
    profile.write_text(
        profile.read_text().replace("<= promise-listening", "recipe = allotment.recipes:promise\npromis = x")
    )
    result = tree.result()
    assert result["outcome"] == "failed"
    assert result["reason"].startswith("instance default is failed after ")


def test_release_that_takes_too_long_is_timed_out_and_leaves_nothing(tree: Tree) -> None:
    put_tests(tree, "import time\n\ndef test_endless():\n    time.sleep(600)\n")
    result = tree.result("--timeout", "15")
    assert (result["outcome"], result["reason"]) == ("timed-out", "did not end within 15 s")
    assert result["steps"][-1]["outcome"] == "timed-out"
    assert processes_in(tree.root) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_command_leaves_nothing(tree: Tree, number: signal.Signals) -> None:
    with tree.start() as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "== deploy\n":
                break
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, "\nstopped\n")
    assert processes_in(tree.root) == []
    assert list(tree.root.glob("job-*")) == []
    assert sorted(path.name for path in (tree.root / "w").iterdir()) == ["lock", "log", "sources", "store"]


def test_path_without_a_release_is_an_error(tmp_path: Path) -> None:
    done = Tree(tmp_path).test()
    assert done.returncode == 1
    release = tmp_path / "software/helloworld"
    expected = f"error: {release} has no software.cfg. Give a release's folder, such as software/helloworld.\n"
    assert done.stderr == expected


def info(status: InstanceStatus, promises: tuple[ObservedPromise, ...] = (), error: str = "") -> InstanceInfo:
    started = InstanceState.STARTED
    where = {"node": "test", "partition": "part0", "promises": promises, "error": error}
    return InstanceInfo("web", "inst-1", "web", None, "hello", "0" * 64, "default", started, status, **where)  # type: ignore[arg-type]


class Answers:
    """A master that answers with one state after another, the last one for ever."""

    def __init__(self, *states: InstanceInfo) -> None:
        self._states = list(states)

    def instance(self, _name: str) -> InstanceInfo:
        return self._states.pop(0) if len(self._states) > 1 else self._states[0]


def test_red_instance_may_still_become_green() -> None:
    states = [info(InstanceStatus.REQUESTED), info(InstanceStatus.RED), info(InstanceStatus.GREEN)]
    assert wait_green(Answers(*states), "web", 10.0).status == InstanceStatus.GREEN  # type: ignore[arg-type]


def test_instance_that_stays_red_is_an_error_with_its_promises() -> None:
    promises = (ObservedPromise("up", "passed", "fine", 0.0), ObservedPromise("page", "failed", "answers 500", 0.0))
    with pytest.raises(DeployError) as caught:
        wait_green(Answers(info(InstanceStatus.RED, promises)), "web", 60.0, red_seconds=0.1)  # type: ignore[arg-type]
    assert str(caught.value) == "instance web is red after 0 s; promises not kept: page\n  page: answers 500."


def test_failed_instance_is_an_error_at_once() -> None:
    with pytest.raises(DeployError, match=r"^instance web is failed after 0 s: no such option\.$"):
        wait_green(Answers(info(InstanceStatus.FAILED, error="no such option")), "web", 60.0)  # type: ignore[arg-type]


def test_names_of_instances_differ_and_are_valid() -> None:
    first, second = unique_name("test_A[x y]"), unique_name("test_A[x y]")
    assert first != second
    assert first.startswith("test-a-x-y-")


def test_plugin_is_inactive_outside_of_jobs(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text("def test_x(master): pass\n")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ALLOTMENT_")}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--rootdir",
        str(tmp_path),
        ".",
    ]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "fixture 'master' not found" in done.stdout
