# SPDX-License-Identifier: Apache-2.0
"""The node beside a real master, by HTTP: registration, long poll, reports."""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from allotment.cli import main
from allotment.client import MasterClient
from allotment.messages.desired_state import InstanceStatus
from allotment.messages.instance import InstancePublished, InstanceRequests
from allotment.secret import Secret
from allotment_node.agent import Agent
from allotment_node.documents import Changes
from allotment_node.folder import NodeFolder
from allotment_node.masters import connect

Make = Callable[..., Any]


class Program:
    """A master of its own process, which can be killed and started again on the same port."""

    def __init__(self, folder: Path, until: Make) -> None:
        self._folder = folder
        self._until = until
        self._port = "0"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "allotment_master", "run", "--folder", str(self._folder), "--port", self._port]
        self._process = subprocess.Popen(command)
        ready = self._folder / "master.json"
        found = self._until(lambda: ready.exists() and json.loads(ready.read_bytes()), 60.0)
        self.url = found["url"]
        self._port = self.url.rpartition(":")[2]

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def client(self) -> MasterClient:
        return MasterClient(self.url, Secret((self._folder / "admin.token").read_text().strip()))


@pytest.fixture
def program(scratch: Path, until: Make) -> Iterator[Program]:
    found = Program(scratch / "master", until)
    yield found
    found.stop()


@pytest.fixture
def agent(program: Program, scratch: Path, config: Any, engines: Any) -> Iterator[Agent]:
    folder = scratch / "node"
    token = scratch / "master" / "admin.token"
    words = ["--folder", str(folder), "--name", "node-1", "--master", program.url, "--token-file", str(token)]
    assert main(["node", "register", *words, "--trust", str(scratch / "trusted"), "--services", "attached"]) == 0
    place = NodeFolder(folder)
    assert place.token.stat().st_mode & 0o777 == 0o600
    loaded = place.load_config()
    with Agent(place, loaded, connect(loaded.masters, place.token), engines) as made:
        made.start()
        yield made


@pytest.fixture
def supplied(program: Program, agent: Agent, master: Any, manifest: Any, scratch: Path) -> Iterator[MasterClient]:
    """The master with a signed release that is supplied to the node."""
    closure = scratch / "closure"
    closure.write_bytes(master.blobs[0])
    assert hashlib.sha256(closure.read_bytes()).hexdigest() == manifest.closure.sha256
    with program.client() as client:
        client.put_blob(closure)
        client.put_manifest(master.manifests[manifest.sha256])
        client.supply("node-1", "hello")
        yield client


def test_a_request_becomes_green_changes_at_once_and_goes(
    supplied: MasterClient, agent: Agent, engines: Any, until: Make, tell: Make
) -> None:
    def recipes(folder: Path, given: Mapping[str, Any]) -> None:
        tell(folder, InstanceRequests(True), InstancePublished({"n": given["parameters"].get("n", 0)}))

    engines.recipes = recipes
    supplied.request("hello", "hello")
    until(lambda: supplied.instance("hello").status is InstanceStatus.GREEN)

    def change(number: int) -> float:
        """Return how many seconds it took until the change was being processed."""
        began = time.monotonic()
        supplied.request("hello", "hello", parameters={"n": number})
        until(lambda: len(engines.runs) == number)
        return time.monotonic() - began

    last = next((number for number in range(2, 7) if change(number) < 1.0), None)  # the machine may be busy once
    assert last is not None
    until(lambda: supplied.instance("hello").published == {"n": last})
    supplied.destroy("hello")
    until(lambda: all(node.free == node.partitions for node in supplied.nodes()))
    supplied.request("again", "hello")
    until(lambda: supplied.instance("again").status is InstanceStatus.GREEN)


def test_a_master_that_comes_back_hears_what_happened(
    program: Program, supplied: MasterClient, agent: Agent, engines: Any, until: Make
) -> None:
    engines.promises["part0"] = {"up": ("passed", "")}
    supplied.request("hello", "hello")
    until(lambda: supplied.instance("hello").status is InstanceStatus.GREEN)
    identifier = supplied.instance("hello").instance
    program.stop()
    engines.promises["part0"] = {"up": ("failed", "nothing listens")}
    agent.watch.deployed("part0", identifier)  # so that its promises are due
    agent.plan(Changes(("part0",), ()))
    until(lambda: agent.observations.instance("part0").promises[0].status == "failed")  # type: ignore[union-attr]
    program.start()
    until(lambda: [item.message for item in supplied.instance("hello").promises] == ["nothing listens"], 60.0)
