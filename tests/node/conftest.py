# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the node's tests: a short folder, a real supervisord, and small stand-ins for what others do."""

import dataclasses
import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from allotment.blobs import BlobStore
from allotment.codec import dumps
from allotment.errors import UnreachableError
from allotment.messages.desired_state import DesiredState, NodeDesiredState, ObservedState, Supply
from allotment.messages.instance import InstancePublished, InstanceRequests, InstanceState
from allotment.messages.manifest import Blob, ReleaseManifest, SignedManifest, SoftwareType
from allotment.options import Lines
from allotment_node.agent import Agent
from allotment_node.config import NodeConfig
from allotment_node.folder import NodeFolder, remove_tree
from allotment_node.masters import Masters
from allotment_promises.catalogue import Timing
from allotment_promises.result import PromiseResult, PromiseStatus
from allotment_recipes.engine import BuildResult, InstanceResult
from allotment_recipes.signing import SigningKey, load_or_create_key, verify

CLOSURE = b"a closure"
SCHEMA = {"type": "object", "properties": {"password": {"type": "string", "writeOnly": True}, "n": {"type": "integer"}}}


@pytest.fixture
def until() -> Callable[[Callable[[], Any], float], Any]:
    """Wait for a condition and return its first true value."""

    def wait(condition: Callable[[], Any], timeout: float = 20.0) -> Any:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            found = condition()
            if found:
                return found
            time.sleep(0.01)
        raise AssertionError(f"not within {timeout:g} s")

    return wait


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A short folder, since unix sockets below it must fit into 108 bytes; what still runs from it is killed."""
    folder = Path(tempfile.mkdtemp(prefix="an-"))
    yield folder
    for process in psutil.process_iter(["pid", "cmdline"]):
        if any(str(folder) in word for word in process.info["cmdline"] or ()):
            process.kill()
    remove_tree(folder)


@pytest.fixture
def node_folder(scratch: Path) -> NodeFolder:
    folder = NodeFolder(scratch / "node")
    folder.create()
    return folder


@pytest.fixture
def signing_key(scratch: Path) -> SigningKey:
    return load_or_create_key(scratch / "signing.key")


@pytest.fixture
def manifest() -> ReleaseManifest:
    return ReleaseManifest(
        "hello",
        "software/hello/software.cfg",
        Blob(hashlib.sha256(CLOSURE).hexdigest(), len(CLOSURE)),
        {"default": SoftwareType("Hello", "Says hello", "instance.cfg", SCHEMA, SCHEMA)},
        {},
    )


class FakeMaster:
    """A master in memory; ``away`` makes every call fail."""

    def __init__(self) -> None:
        self.away = False
        self.sequence = 0
        self.supplies: tuple[Supply, ...] = ()
        self.partitions: tuple[DesiredState, ...] = ()
        self.manifests: dict[str, SignedManifest] = {}
        self.blobs: list[bytes] = [CLOSURE]
        self.reports: list[ObservedState] = []
        self.asked: list[int] = []
        self._condition = threading.Condition()

    def set(self, *partitions: DesiredState, supplies: tuple[Supply, ...] | None = None) -> None:
        with self._condition:
            self.partitions = partitions
            self.supplies = self.supplies if supplies is None else supplies
            self.sequence += 1
            self._condition.notify_all()

    def _check(self) -> None:
        if self.away:
            raise UnreachableError("the master did not answer", "Check that it runs")

    def desired(self, node: str, since: int, wait: float) -> NodeDesiredState | None:
        with self._condition:
            self._check()
            self.asked.append(since)
            self._condition.wait_for(lambda: self.sequence > since or self.away, min(wait, 0.5))
            self._check()
            if self.sequence <= since:
                return None
            return NodeDesiredState(self.sequence, self.supplies, self.partitions)

    def report(self, node: str, observed: ObservedState) -> None:
        self._check()
        self.reports.append(observed)

    def get_manifest(self, sha256: str) -> SignedManifest:
        self._check()
        return self.manifests[sha256]

    def get_blob(self, sha256: str, store: BlobStore) -> None:
        self._check()
        for data in self.blobs if sha256 not in store else ():
            if hashlib.sha256(data).hexdigest() == sha256:
                store.write([data], sha256)

    def close(self) -> None:
        self.away = True

    def last(self, partition: str) -> Any:
        """Return the last report on a partition."""
        found = [item for report in list(self.reports) for item in report.instances if item.partition == partition]
        return found[-1] if found else None

    def last_software(self, sha256: str) -> Any:
        found = [item for report in list(self.reports) for item in report.software if item.manifest == sha256]
        return found[-1] if found else None


class FakeEngines:
    """Stands in for recipes and promises. ``recipes`` are called in each processing, with the partition's folder."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.builds: list[str] = []
        self.recipes: Callable[[Path, Mapping[str, Any]], InstanceResult | None] = lambda folder, given: None
        self.build_error = ""
        self.promises: dict[str, dict[str, tuple[str, str]]] = {}  # partition -> name -> status, message
        self.timing: dict[str, Timing] = {}  # of a promise, where it is not once a minute
        self.checked: list[tuple[str, str, tuple[str, ...]]] = []

    def install(
        self, manifest: ReleaseManifest, closure: Path, folder: Path, sources: Path, log: Path, development: bool
    ) -> BuildResult:
        self.builds.append(manifest.sha256)
        folder.mkdir()
        (folder / "instance.cfg").write_text("[buildout]\n")
        log.write_text("line one\nthe compiler says no\n")
        return BuildResult(not self.build_error, self.build_error, {}, 0.1)

    def verify(self, signed: SignedManifest, trusted: Iterable[str]) -> None:
        verify(signed, trusted)

    def process(self, software: Path, partition: Path, profile: str, log: Path) -> InstanceResult:
        assert (software / profile).is_file()
        self.runs.append(partition.name)
        given = json.loads((partition / ".allotment" / "instance.json").read_bytes())
        log.write_text(f"processing with {given['parameters']}\n")
        return self.recipes(partition, given) or InstanceResult("done", "", (), 0.0)

    def launch(self, partition: Path, mode: str, names: Iterable[str] | None) -> list[list[PromiseResult]]:
        found = self.promises.get(partition.name, {})
        wanted = sorted(found if names is None else names)
        self.checked.append((partition.name, mode, tuple(wanted)))
        results = [
            PromiseResult(name, PromiseStatus(found[name][0]), found[name][1], time.time(), 0.0)
            for name in wanted
            if name in found
        ]
        return [results]

    def timings(self, partition: Path) -> list[Timing]:
        names = self.promises.get(partition.name, {})
        return [dataclasses.replace(self.timing.get(name, Timing("", 60.0)), name=name) for name in sorted(names)]

    def close(self) -> None:
        pass


@pytest.fixture
def master(manifest: ReleaseManifest, signing_key: SigningKey) -> FakeMaster:
    found = FakeMaster()
    found.manifests[manifest.sha256] = signing_key.sign(manifest)
    return found


@pytest.fixture
def engines() -> FakeEngines:
    return FakeEngines()


@pytest.fixture
def config(scratch: Path, signing_key: SigningKey) -> NodeConfig:
    (scratch / "trusted").write_text(f"{signing_key.public}  # the farm\n")
    return NodeConfig(
        name="node-1",
        masters=Lines(("http://127.0.0.1:1",)),
        trust=Lines((str(scratch / "trusted"),)),
        settle=2.0,
    )


@pytest.fixture
def make_agent(
    node_folder: NodeFolder, config: NodeConfig, master: FakeMaster, engines: FakeEngines
) -> Iterator[Callable[..., Agent]]:
    """Make agents of one node folder, one at a time; the last one is stopped at the end, its services too."""
    made: list[Agent] = []

    def make(**changes: Any) -> Agent:
        if made:
            made[-1].close()
            master.away = False
        agent = Agent(node_folder, dataclasses.replace(config, **changes), Masters([master]), engines)
        made.append(agent)
        return agent

    yield make
    for agent in made[-1:]:
        for document in agent.documents.partitions():
            agent.supervisor.remove(document.partition)
        agent.close()


@pytest.fixture
def document(manifest: ReleaseManifest) -> Callable[..., DesiredState]:
    """Make a desired-state document."""

    def make(**changes: Any) -> DesiredState:
        plain = DesiredState(
            partition="part0",
            generation=1,
            issuer="master",
            instance="inst-1",
            name="hello",
            tree="hello",
            manifest=manifest.sha256,
            software_type="default",
            state=InstanceState.STARTED,
        )
        return dataclasses.replace(plain, **changes)

    return make


@pytest.fixture
def write_service() -> Callable[..., Path]:
    """Write a program into a partition's etc/service."""

    def write(partition: Path, name: str = "sleeper", body: str = "exec sleep 1000", folder: str = "service") -> Path:
        path = partition / "etc" / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o700)
        return path

    return write


@pytest.fixture
def tell() -> Callable[..., None]:
    """Write requests.json and published.json as the recipes do."""

    def write(
        partition: Path, requests: InstanceRequests | None = None, published: InstancePublished | None = None
    ) -> None:
        for name, value in (("requests", requests), ("published", published)):
            if value is not None:
                (partition / ".allotment" / f"{name}.json").write_bytes(dumps(value))

    return write


@pytest.fixture
def pids() -> Callable[[Path], set[int]]:
    """Return the processes whose command line or working directory is below a folder."""

    def find(folder: Path) -> set[int]:
        found = set()
        for process in psutil.process_iter(["pid", "cmdline", "cwd", "status"]):
            words = [*(process.info["cmdline"] or ()), process.info["cwd"] or ""]
            if any(str(folder) in word for word in words) and process.pid != os.getpid():
                found.add(process.pid)
        return found

    return find
