# SPDX-License-Identifier: Apache-2.0
"""A master to test: without HTTP, behind its application in this process, and as a program."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from allotment.client import MasterClient
from allotment.codec import canonical, encode
from allotment.messages.desired_state import (
    DesiredState,
    InstanceStatus,
    ObservedInstance,
    ObservedPromise,
    ObservedState,
    SupplyState,
)
from allotment.messages.instance import ChildRequest, InstancePublished, InstanceRequests, InstanceState
from allotment.messages.manifest import Blob, ReleaseManifest, Signature, SignedManifest, SoftwareType
from allotment.messages.service import InstanceInfo, NodeRegistration, ServiceRequest, SupplyRequest
from allotment.secret import Secret
from allotment_master.app import create_app
from allotment_master.kit.database import Database
from allotment_master.kit.identity import Identity
from allotment_master.master import Master
from allotment_master.plugin import allotment_allocation_terms

CLOSURE = b"the closure of a release"
PARAMETERS = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "greeting": {"type": "string", "description": "What to say."},
        "port": {"type": "integer", "minimum": 1},
        "password": {"type": "string", "writeOnly": True, "minLength": 8},
        "nested": {"type": "object", "additionalProperties": {"type": "integer"}},
    },
}
PUBLISHED = {"type": "object", "properties": {"key": {"type": "string", "writeOnly": True}}}
NOBODY = {"Authorization": "Bearer nonsense"}


def signed_manifest(name: str = "hello", is_signed: bool = True, **changes: Any) -> SignedManifest:
    """Return a release's manifest; ``changes`` make other ones of the same name."""
    kind = SoftwareType("Hello", "Says hello.", "instance.cfg", PARAMETERS, PUBLISHED)
    values: dict[str, Any] = {
        "name": name,
        "profile": "software.cfg",
        "closure": Blob(hashlib.sha256(CLOSURE).hexdigest(), len(CLOSURE)),
        "software_types": {"default": kind, "other": kind},
        "parts": {},
        **changes,
    }
    return SignedManifest(ReleaseManifest(**values), (Signature("ed25519:AA", "BB"),) if is_signed else ())


@dataclass
class House:
    """A master with shorthands for what tests do to it."""

    master: Master
    now: list[float] = field(default_factory=lambda: [1_800_000_000.0])

    def add_release(self, name: str = "hello", is_signed: bool = True, **changes: Any) -> str:
        """Add a release, return its sha256."""
        self.master.blobs.write([CLOSURE])
        signed = signed_manifest(name, is_signed, **changes)
        self.master.add_manifest(signed)
        return signed.manifest.sha256

    def add_node(self, name: str = "node-1", partitions: int = 4, **labels: str) -> Secret:
        """Register a node, return its token."""
        wanted = NodeRegistration(name, partitions, "linux-x86_64", labels)
        return self.master.register(wanted, Identity("admin"))

    def supply(self, node: str = "node-1", release: str = "hello", state: str = "available", **more: bool) -> None:
        """Offer a release on a node."""
        self.master.supply(SupplyRequest(node, release, SupplyState(state), **more))

    def ready(self, partitions: int = 4) -> str:
        """Make one node with the release ``hello``; return the manifest's sha256."""
        sha256 = self.add_release()
        self.add_node(partitions=partitions)
        self.supply()
        return sha256

    def request(self, name: str = "one", release: str = "hello", **more: Any) -> InstanceInfo:
        """Request a root instance."""
        return self.master.request(name, ServiceRequest(release, **more))

    def set_state(self, name: str, state: str) -> InstanceInfo:
        """Start, stop or destroy an instance."""
        return self.master.set_state(name, InstanceState(state))

    def documents(self, node: str = "node-1") -> dict[str, DesiredState]:
        """Return what is wanted of a node, by the paths of instances."""
        desired = self.master.desired(node, -1)
        assert desired is not None
        return {f"{item.tree}:{item.name}": item for item in desired.partitions}

    def report(self, document: DesiredState, node: str = "node-1", **values: Any) -> None:
        """Report on an instance as its node; green unless ``status`` says otherwise."""
        generation = values.pop("generation", document.generation)
        status = InstanceStatus(values.pop("status", "green"))
        seen = ObservedInstance(document.partition, document.instance, generation, status, **values)
        self.master.observe(node, ObservedState(instances=(seen,)))

    def report_children(self, document: DesiredState, *names: str, complete: bool = True, **more: Any) -> None:
        """Report as the node of a parent that it asks for children, of the release ``hello`` unless told."""
        asked = tuple(ChildRequest(name, **{"release": "hello", **more}) for name in names)
        self.report(document, requests=InstanceRequests(complete, asked))

    def publish(self, document: DesiredState, **values: Any) -> None:
        """Report that an instance publishes something."""
        self.report(document, published=InstancePublished(values))

    def kinds(self) -> list[str]:
        """Return the kinds of all events."""
        return [event.kind for event in self.master.events(0, 1000) or ()]


@pytest.fixture
def make_manifest() -> Callable[..., SignedManifest]:
    return signed_manifest


@pytest.fixture
def make_house(database_url: str, tmp_path: Path) -> Iterator[Callable[[], House]]:
    """Start masters of one database, as many as wanted."""
    started: list[Database] = []

    def make() -> House:
        now = [1_800_000_000.0]
        database = Database(database_url)
        started.append(database)
        return House(Master(database, tmp_path, allotment_allocation_terms(), clock=lambda: now[0]), now)

    yield make
    for database in started:
        database.close()


@pytest.fixture
def house(make_house: Callable[[], House]) -> House:
    """A master without HTTP, empty."""
    return make_house()


@dataclass
class Site:
    """A master behind its application, with a token of each scope."""

    house: House
    http: TestClient
    tokens: dict[str, Secret]

    def headers(self, scope: str) -> dict[str, str]:
        """Return the headers of a caller: a scope, "nobody" or "anonymous"."""
        if scope == "anonymous":
            return {}
        return NOBODY if scope == "nobody" else {"Authorization": f"Bearer {self.tokens[scope].reveal()}"}

    def call(self, method: str, path: str, scope: str = "admin", body: Any = None, **more: Any) -> Any:
        """Call the API and return the answer."""
        content = None if body is None else canonical(encode(body))
        return self.http.request(method, f"/api/v1{path}", content=content, headers=self.headers(scope), **more)


@pytest.fixture
def site(house: House) -> Iterator[Site]:
    """A master behind its application, empty but for tokens."""
    tokens = {scope: house.master.create_token(scope) for scope in ("admin", "user", "farm", "enrol")}
    with TestClient(create_app(house.master), raise_server_exceptions=False) as http:
        yield Site(house, http, tokens)


@dataclass
class Program:
    """A master as a program."""

    folder: Path
    arguments: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Program":
        """Start it and wait until it is ready."""
        command = [sys.executable, "-m", "allotment_master", "run", "--folder", str(self.folder), *self.arguments]
        ready = self.folder / "master.json"
        ready.unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + 30
        while not ready.exists():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < end, "not ready"
            time.sleep(0.02)
        return self

    @property
    def url(self) -> str:
        return str(json.loads((self.folder / "master.json").read_text())["url"])

    def client(self, token: Secret | None = None, timeout: float = 30.0) -> MasterClient:
        """Return a client, an admin's unless a token is given."""
        return MasterClient(self.url, token or Secret((self.folder / "admin.token").read_text().strip()), timeout)

    def kill(self) -> None:
        """Kill it, so that it can't tidy up."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """Stop it cleanly and return its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGTERM)
        return self.process.wait(20)


@pytest.fixture
def make_program(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Start masters as programs, each in its folder."""
    started: list[Program] = []

    def make(*arguments: str, name: str = "m") -> Program:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        program = Program(folder, list(arguments)).start()
        started.append(program)
        return program

    yield make
    for program in started:
        if program.process is not None and program.process.poll() is None:
            program.kill()


@pytest.fixture
def promise() -> Callable[[str, str, str], ObservedPromise]:
    """Make a promise's result."""
    return lambda name, status, message: ObservedPromise(name, status, message, 1.0)
