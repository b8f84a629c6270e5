# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end tests: a small git repository to prove, and the whole system around it."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from allotment_testfarm.demo import HELLO, NODE, Demo
from allotment_testfarm.local_farm import Places

ROOT = Path(__file__).parents[2]


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A short folder: unix sockets below it must fit into 108 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="e2e-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def commit() -> Callable[[Path, str], str]:
    """Commit everything in a checkout; returns the commit's hash."""

    def make(checkout: Path, subject: str) -> str:
        identity = ["-c", "user.name=A Tester", "-c", "user.email=tester@localhost"]
        subprocess.run(["git", "-C", str(checkout), "add", "-A"], check=True)
        subprocess.run(["git", "-C", str(checkout), *identity, "commit", "-q", "-m", subject], check=True)
        head = subprocess.run(["git", "-C", str(checkout), "rev-parse", "HEAD"], check=True, capture_output=True)
        return head.stdout.decode().strip()

    return make


@pytest.fixture
def repository(scratch: Path, commit: Callable[[Path, str], str]) -> Path:
    """A git checkout that holds the release helloworld as it is here, whatever state this tree's own git is in."""
    checkout = scratch / "checkout"
    for folder in ("software/helloworld", "software/stack"):  # what compiles nothing: these tests are about the farm
        shutil.copytree(ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["git", "init", "-q", "-b", "main", str(checkout)], check=True)
    commit(checkout, "software: helloworld")
    return checkout


@pytest.fixture
def system(scratch: Path, repository: Path) -> Iterator[Demo]:
    """The whole system, started: farm, two test nodes, master, production node (its services outlive it)."""
    said: list[str] = []
    places = Places(scratch / "system", repository, scratch / "store", scratch / "sources")
    with Demo(places, said.append, (HELLO,), services="detached") as demo:
        try:
            demo.start()
            yield demo
        finally:
            print("\n".join(said))  # shown by pytest when the test fails
    stop_services(scratch / "system" / NODE)


def stop_services(node: Path) -> None:
    """End the services that a node has left running, as its operator would: by its supervisord's pid."""
    try:
        supervisord = psutil.Process(int((node / "supervisor/supervisord.pid").read_text()))
    except (FileNotFoundError, psutil.NoSuchProcess):
        return
    services = supervisord.children(recursive=True)
    supervisord.terminate()
    _, alive = psutil.wait_procs([supervisord, *services], timeout=60)
    assert not alive, f"still running: {alive}"
