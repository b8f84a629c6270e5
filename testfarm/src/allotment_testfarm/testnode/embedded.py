# SPDX-License-Identifier: Apache-2.0
"""The master and the node that a job deploys on: the production programs, in the job's scratch folder."""

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from allotment.client import MasterClient
from allotment.codec import Json
from allotment.errors import AllotmentError, UnreachableError
from allotment.messages.desired_state import InstanceStatus, SoftwareStatus
from allotment.messages.job import KeptPromise
from allotment.messages.manifest import DEFAULT_TYPE, ReleaseManifest, SignedManifest
from allotment.messages.service import InstanceInfo
from allotment.options import Lines
from allotment.secret import Secret
from allotment_node.commands.register import register
from allotment_node.config import NodeConfig
from allotment_node.folder import NodeFolder
from allotment_testfarm.programs import Program

NODE = "test"
PARTITIONS = 16
RED_SECONDS = 30.0  # beyond the time that the node itself gives promises to be kept after a deployment
_INTERVAL = 0.05  # seconds between two looks at a state


class DeployError(AllotmentError):
    """A release can't be installed, or an instance of it does not become green."""


class Fleet:
    """A master with one node, as a context manager; use it on the main thread.

    Entering starts the master without waiting for it: it wakes up while the release is built. At the end both are
    killed, not stopped: nobody needs what they keep, and the guard that a job runs under takes what they started.
    """

    def __init__(self, folder: Path, sources: Path, store: Path) -> None:
        self.token_file = folder / "master/admin.token"
        self._sources = sources
        self._store = store
        self._master = _program("master", folder)
        self._node = _program("node", folder)
        self._client: MasterClient | None = None

    def __enter__(self) -> Self:
        self._master.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.close()
        for program in (self._master, self._node):
            program.kill()

    @property
    def client(self) -> MasterClient:
        """The master, with every right; :meth:`connect` comes first."""
        if self._client is None:
            raise RuntimeError("connect() first")
        return self._client

    def connect(self) -> None:
        """Wait for the master, make the node known to it, and start the node."""
        url = str(self._master.wait_ready()["url"])
        self._client = MasterClient(url, Secret(self.token_file.read_text().strip()))
        self._register(url)
        self._node.start()
        self._node.wait_ready()

    def _register(self, url: str) -> None:
        """Write the node's settings; it shares the test node's downloads, verified at each use, and its built parts."""
        folder = self._node.folder
        folder.mkdir(parents=True, mode=0o700)
        for name, shared in (("blobs", self._sources), ("store", self._store)):
            shared.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(shared)
        config = NodeConfig(
            name=NODE, masters=Lines((url,)), partitions=PARTITIONS, services="attached", allow_development=True
        )
        register(NodeFolder(folder), config, Secret(self.token_file.read_text().strip()), {})

    def check(self) -> None:
        """Raise when the master or the node has ended by itself."""
        self._master.check()
        self._node.check()

    def install(self, manifest: ReleaseManifest, closure: Path, seconds: float) -> str:
        """Give the release to the master, have the node install it, and return the manifest's sha256."""
        self.client.put_blob(closure)
        sha256 = self.client.put_manifest(SignedManifest(manifest))
        self.client.supply(NODE, sha256, development=True)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.check()
            for supply in self.client.supplies():
                if supply.manifest == sha256 and supply.status == SoftwareStatus.AVAILABLE:
                    return sha256
                if supply.manifest == sha256 and supply.status == SoftwareStatus.FAILED:
                    raise DeployError(f"the node can't install {manifest.name}: {supply.error}")
            time.sleep(_INTERVAL)
        raise DeployError(f"the node did not install {manifest.name} within {seconds:g} s\n{self._node.tail()}")

    def promises(self) -> tuple[KeptPromise, ...]:
        """Return how the promises of all instances are now; none where the master does not answer."""
        if self._client is None:
            return ()
        try:
            instances = self._client.instances()
        except UnreachableError:
            return ()
        return tuple(
            KeptPromise(instance.name, promise.name, promise.status, promise.message)
            for instance in instances
            for promise in instance.promises
        )

    def deploy(self, name: str, release: str, parameters: Mapping[str, Json], seconds: float) -> InstanceInfo:
        """Request an instance of the default type and return it once it is green."""
        self.client.request(name, release, DEFAULT_TYPE, parameters)
        return wait_green(self.client, name, seconds)


def _program(name: str, folder: Path) -> Program:
    place = folder / name
    return Program(name, f"allotment_{name}", ["run", "--folder", str(place)], place, f"{name}.json")


def wait_green(client: MasterClient, name: str, seconds: float, red_seconds: float = RED_SECONDS) -> InstanceInfo:
    """Return an instance once it is green; the error says what it was instead, with its broken promises.

    It ends early when the instance has failed, or was red for ``red_seconds`` without a break.
    """
    began = last_hope = time.monotonic()
    while True:
        info = client.instance(name)
        now = time.monotonic()
        if info.status == InstanceStatus.GREEN:
            return info
        if info.status != InstanceStatus.RED:
            last_hope = now
        is_over = now - began > seconds or now - last_hope > red_seconds
        if info.status == InstanceStatus.FAILED or is_over:
            raise DeployError(describe(info, now - began))
        time.sleep(_INTERVAL)


def describe(info: InstanceInfo, seconds: float) -> str:
    """Return why an instance is not green after ``seconds``: one line, then one for each broken promise."""
    lines = [f"  {item.name}: {item.message}" for item in info.promises if item.status != "passed"]
    what = f"instance {info.name} is {info.status} after {seconds:.0f} s"
    if info.error:
        what += f": {info.error}"
    if lines:
        what += f"; promises not kept: {', '.join(item.name for item in info.promises if item.status != 'passed')}"
    return "\n".join([what, *lines])
