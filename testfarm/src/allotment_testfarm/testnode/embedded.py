# SPDX-License-Identifier: Apache-2.0
"""The master and the node that a job deploys on: the production programs, in the job's scratch folder."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from allotment.client import MasterClient
from allotment.codec import Json
from allotment.errors import AllotmentError, UnreachableError
from allotment.messages.desired_state import InstanceStatus, SoftwareStatus
from allotment.messages.manifest import DEFAULT_TYPE, ReleaseManifest, SignedManifest
from allotment.messages.service import InstanceInfo
from allotment.secret import Secret
from allotment_node.commands.register import command as register
from allotment_testfarm.jobs import InfrastructureError
from allotment_testfarm.programs import Program, ProgramError, Programs

NODE = "test"
PARTITIONS = 16
RED_SECONDS = 30.0  # beyond the time that the node itself gives promises to be kept after a deployment
_INTERVAL = 0.05  # seconds between two looks at a state


class DeployError(AllotmentError):
    """A release can't be installed, or an instance of it does not become green."""


@dataclass(frozen=True)
class Fleet:
    """A running master with one node."""

    url: str
    token_file: Path  # of the master's admin
    client: MasterClient
    programs: Programs
    node: Program

    def install(self, manifest: ReleaseManifest, closure: Path, seconds: float) -> str:
        """Give the release to the master, have the node install it, and return the manifest's sha256."""
        self.client.put_blob(closure)
        sha256 = self.client.put_manifest(SignedManifest(manifest))
        self.client.supply(NODE, sha256, development=True)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.programs.check()
            for supply in self.client.supplies():
                if supply.manifest == sha256 and supply.status == SoftwareStatus.AVAILABLE:
                    return sha256
                if supply.manifest == sha256 and supply.status == SoftwareStatus.FAILED:
                    raise DeployError(f"the node can't install {manifest.name}: {supply.error}")
            time.sleep(_INTERVAL)
        raise DeployError(f"the node did not install {manifest.name} within {seconds:g} s:\n{self.node.tail()}")

    def deploy(self, name: str, release: str, parameters: Mapping[str, Json], seconds: float) -> InstanceInfo:
        """Request an instance of the default type and return it once it is green."""
        self.client.request(name, release, DEFAULT_TYPE, parameters)
        return wait_green(self.client, name, seconds)


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


@contextmanager
def fleet(folder: Path, sources: Path) -> Iterator[Fleet]:
    """Start a master and a node; what does not start, or ends too early, is the infrastructure's fault.

    Call it on the main thread. At the end both are killed, not stopped: nobody needs what they keep, and the guard
    that a job runs under takes what they started.
    """
    programs = Programs()
    started: list[Program] = []
    try:
        master = Program("master", "allotment_master", _run(folder / "master"), folder / "master", "master.json")
        started.append(master)
        url = str(programs.start(master)["url"])
        token_file = folder / "master/admin.token"
        with MasterClient(url, Secret(token_file.read_text().strip())) as client:
            node = _register(folder / "node", url, token_file, sources)
            started.append(node)
            programs.start(node)
            yield Fleet(url, token_file, client, programs, node)
    except (ProgramError, UnreachableError) as error:
        raise InfrastructureError(f"the embedded master and node do not work: {error}") from error
    finally:
        for program in started:
            program.kill()


def _register(folder: Path, url: str, token_file: Path, sources: Path) -> Program:
    """Make the node known to the master; it shares the test node's downloads, which are verified at each use."""
    folder.mkdir(parents=True, mode=0o700)
    sources.mkdir(parents=True, exist_ok=True)
    (folder / "blobs").symlink_to(sources)
    options = ["--folder", str(folder), "--name", NODE, "--master", url, "--token-file", str(token_file)]
    more = ["--partitions", str(PARTITIONS), "--services", "attached", "--allow-development"]
    register.main([*options, *more], standalone_mode=False)
    return Program("node", "allotment_node", _run(folder), folder, "node.json")


def _run(folder: Path) -> list[str]:
    return ["run", "--folder", str(folder)]
