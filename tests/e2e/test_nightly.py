# SPDX-License-Identifier: Apache-2.0
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import psutil
import pytest

pytestmark = [pytest.mark.xdist_group("e2e-nightly"), pytest.mark.timeout(600)]

COMPONENT = """[buildout]
parts = {name}

[{name}]
recipe = allotment.recipes:cmmi
url = {archive}
sha256sum = {sha256}
version = 1.5
configure-command = true
make-binary = true
make-targets =
post-install = {command}
"""


def add_component(repository: Path, name: str, command: str) -> None:
    """Write a component whose source is one file and which is built by one shell command."""
    archive = repository.with_name("source.tar")
    with tarfile.open(archive, "w") as tar:
        member = tarfile.TarInfo("source/README")
        member.size = 5
        tar.addfile(member, io.BytesIO(b"hello"))
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    profile = repository / "components" / name / "buildout.cfg"
    profile.parent.mkdir(parents=True)
    profile.write_text(COMPONENT.format(name=name, archive=archive, sha256=sha256, command=command))


@pytest.fixture
def small(repository: Path) -> Path:
    """A checkout with the release helloworld and no components yet; what tests add is to be committed."""
    shutil.rmtree(repository / "components", ignore_errors=True)
    for folder in (repository / "software").iterdir():
        if folder.name not in ("helloworld", "stack"):
            shutil.rmtree(folder)
    return repository


def arguments(scratch: Path, repository: Path) -> list[str]:
    folders = ["--folder", str(scratch / "night"), "--sources", str(scratch / "sources")]
    return [sys.executable, "-m", "allotment", "nightly", *folders, "--repository", str(repository)]


def run(scratch: Path, repository: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(arguments(scratch, repository), capture_output=True, text=True, timeout=500, check=False)


def left(folder: Path) -> list[str]:
    """Every process that was started for ``folder``."""
    found = [process.info for process in psutil.process_iter(["cmdline", "pid"])]
    lines = [" ".join(info["cmdline"] or []) for info in found if info["pid"] != os.getpid()]
    return [line for line in lines if str(folder) in line]


def test_a_green_night_tells_how_long_each_part_took(
    scratch: Path, small: Path, commit: Callable[[Path, str], str]
) -> None:
    add_component(small, "pebble", "echo pebble > @@LOCATION@@/pebble")
    revision = commit(small, "components: add pebble")
    done = run(scratch, small)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((scratch / "night/summary.json").read_text())
    assert summary["revision"] == revision
    assert (summary["releases"], summary["verdicts"]) == (["helloworld"], {"helloworld": "passed"})
    assert summary["components"] == {"pebble": ""}
    assert set(summary["seconds"]) == {"start", "releases", "components", "release helloworld"}
    (part,) = summary["parts"]
    assert (part["name"], part["version"], part["bytes"]) == ("pebble", "1.5", 7)
    assert set(part) == {"name", "version", "bytes", "seconds"}
    said = [line.partition("] ")[2] for line in done.stdout.splitlines() if line.startswith("[")]
    assert [line for line in said if line.startswith("component pebble: built pebble 1.5 in")]
    assert len(said) == len(set(said)), "something is said twice"
    assert done.stdout.splitlines()[-1] == str(scratch / "night/summary.json")
    assert list((scratch / "sources").glob("??/*")), "the source cache is kept"
    assert left(scratch) == []


def test_a_night_that_stays_goes_on_with_what_is_committed(
    scratch: Path, small: Path, commit: Callable[[Path, str], str]
) -> None:
    add_component(small, "pebble", "echo pebble > @@LOCATION@@/pebble")
    commit(small, "components: add pebble")
    with (scratch / "output").open("wb") as output:
        night = psutil.Popen([*arguments(scratch, small), "--stay"], stdout=output, stderr=subprocess.STDOUT)

    def said() -> str:
        return (scratch / "output").read_text()

    def wait(what: Callable[[], object]) -> None:
        deadline = time.monotonic() + 200
        while not what():
            assert time.monotonic() < deadline and night.poll() is None, said()
            time.sleep(0.1)

    try:
        wait(lambda: "Ctrl-C stops everything" in said())
        (url,) = re.findall(r"goes on with what is committed: (\S+)", said())
        (small / "software/helloworld/README.md").write_text("Another text.\n")
        revision = commit(small, "software: say more of helloworld")
        with httpx2.Client(base_url=url, timeout=60.0) as client:
            found = lambda: client.get("/api/v1/jobs", params={"revision": revision}).json()["items"]  # noqa: E731
            wait(lambda: [job for job in found() if job["ended"]])
            assert [job["verdict"]["colour"] for job in found()] == ["green"]
    finally:
        night.send_signal(signal.SIGINT)
        assert night.wait(60) == 0, said()
    assert left(scratch) == []


def test_what_is_red_is_named_and_the_rest_is_built(
    scratch: Path, small: Path, commit: Callable[[Path, str], str]
) -> None:
    (small / "software/helloworld/test/test_helloworld.py").write_text("def test_nothing():\n    assert 1 == 2\n")
    add_component(small, "bad", "echo no such luck; false")
    add_component(small, "good", "echo good > @@LOCATION@@/good")
    commit(small, "software: break it")
    done = run(scratch, small)
    assert done.returncode == 1, done.stderr
    summary = json.loads((scratch / "night/summary.json").read_text())
    assert summary["green"] is False
    assert summary["verdicts"] == {"helloworld": "new-failure"}
    assert "no such luck" in summary["components"]["bad"]
    assert summary["components"]["good"] == ""
    assert [part["name"] for part in summary["parts"]] == ["good"]
    assert f"helloworld: the job's log is {scratch}/night/jobs/helloworld.log" in done.stdout
    assert left(scratch) == []


def is_asleep(process: psutil.Process, seconds: str) -> bool:
    try:
        return process.cmdline() == ["sleep", seconds]
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_night_leaves_no_process(
    number: signal.Signals, scratch: Path, small: Path, commit: Callable[[Path, str], str]
) -> None:
    """Interrupted while a component is being built, which is a process of its own."""
    seconds = f"300.{os.getpid()}"
    add_component(small, "slow", f"exec sleep {seconds}")
    commit(small, "components: add slow")
    with (scratch / "output").open("wb") as output:
        night = psutil.Popen(arguments(scratch, small), stdout=output, stderr=output)
    deadline = time.monotonic() + 300
    started: list[psutil.Process] = []
    while not any(is_asleep(process, seconds) for process in started):
        assert time.monotonic() < deadline and night.poll() is None, (scratch / "output").read_text()
        time.sleep(0.05)
        started = night.children(recursive=True)
    night.send_signal(number)
    assert night.wait(timeout=60) == 130
    assert psutil.wait_procs(started, timeout=60)[1] == []
    assert not (scratch / "night/summary.json").exists()


def test_a_commit_without_releases_is_an_error(scratch: Path, small: Path, commit: Callable[[Path, str], str]) -> None:
    shutil.rmtree(small / "software/helloworld")
    revision = commit(small, "software: remove helloworld")
    done = run(scratch, small)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: commit {revision[:7]} of {small} holds no software release. Commit a software/<name>/software.cfg.\n"
    )
