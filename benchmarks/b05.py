# SPDX-License-Identifier: Apache-2.0
"""B5: a node's pass over 100 partitions in which nothing has changed.

The partitions are processed for real once, from a small release that is built here. What is measured is a whole agent,
from reading its folder to the last partition; a pass of one that runs already is ``warm``. No process may be started.
"""

import logging
import sys
import tempfile
import time
from pathlib import Path

import psutil

from allotment.blobs import BlobStore
from allotment.messages.desired_state import DesiredState, NodeDesiredState, ObservedState, Supply
from allotment.messages.instance import InstanceState
from allotment.messages.manifest import DEFAULT_TYPE, SignedManifest
from allotment.options import Lines
from allotment_node.agent import Agent
from allotment_node.config import NodeConfig
from allotment_node.engines import RealEngines
from allotment_node.folder import NodeFolder
from allotment_node.masters import Masters
from allotment_recipes.engine import BuildEngine
from allotment_recipes.manifest import BuiltRelease, build_release
from benchmarks.measure import Result, Sample, alternately, inside, main, median

GOAL_SECONDS = 0.3
SLAPGRID_SECONDS = 61.0  # as measured with slapos.core 1.26 on 2 cores; it is not on this machine
PARTITIONS = 100

PROFILE = """\
[buildout]
parts = instance-profile

[instance-profile]
recipe = allotment.recipes:template.jinja2
url = ${:_profile_base_location_}/instance.cfg.in
output = ${buildout:directory}/instance.cfg
"""
INSTANCE = """\
[buildout]
parts = publish

[slap-configuration]
recipe = allotment.recipes:slapconfiguration

[publish]
recipe = allotment.recipes:publish
address = ${slap-configuration:address}
"""
DESCRIPTION = """\
{"format": 1, "name": "trivial", "licences": ["Apache-2.0"], "types": {"default": {"title": "Trivial",
 "description": "Publishes its address", "profile": "instance.cfg", "parameters": "any.json", "published": "any.json"}}}
"""


class Shelf:
    """A master that knows one release and wants nothing."""

    def __init__(self, release: BuiltRelease) -> None:
        self._release = release

    def desired(self, node: str, since: int, wait: float) -> NodeDesiredState | None:
        return None

    def report(self, node: str, observed: ObservedState) -> None:
        """Reports are not kept."""

    def get_manifest(self, sha256: str) -> SignedManifest:
        return SignedManifest(self._release.manifest)

    def get_blob(self, sha256: str, store: BlobStore) -> None:
        store.add(self._release.closure, sha256)

    def close(self) -> None:
        """There is no connection."""


class Node:
    """A node's folder with a release and processed partitions; ``root`` is the release's source."""

    def __init__(self, folder: Path, profile: str = PROFILE, instance: str = INSTANCE) -> None:
        self.folder = NodeFolder(folder / "node")
        self.config = NodeConfig(
            "bench", Lines(("http://127.0.0.1:9",)), PARTITIONS, "attached", allow_development=True
        )
        self.root = folder / "trivial"
        self.root.mkdir()
        texts = {"software.cfg": profile, "instance.cfg.in": instance, "software.cfg.json": DESCRIPTION}
        for name, text in {**texts, "any.json": "{}"}.items():
            (self.root / name).write_text(text)
        self.release = self._build(folder)

    def _build(self, folder: Path) -> BuiltRelease:
        profile, sources, log = self.root / "software.cfg", folder / "sources", folder / "build.log"
        with BuildEngine() as engine:
            return build_release(profile, self.root, folder / "built", sources, engine, log, store=self.folder.store)

    def agent(self) -> Agent:
        engines = RealEngines(self.config, self.folder.store, self.folder.root)
        return Agent(self.folder, self.config, Masters([Shelf(self.release)]), engines)

    def process_once(self) -> float:
        """Install the release, process every partition and return the seconds of the latter."""
        manifest = self.release.manifest.sha256
        documents = tuple(
            DesiredState(name, 1, "bench", f"inst-{name}", name, name, manifest, DEFAULT_TYPE, InstanceState.STARTED)
            for name in self.config.partition_names
        )
        with self.agent() as agent:
            agent.documents.apply(NodeDesiredState(1, (Supply(manifest, development=True),), documents))
            agent.software.install(manifest, True)
            started = time.perf_counter()
            for name in self.config.partition_names:
                agent.instances.process(name)
                seen = agent.observations.instance(name)
                if seen is None or seen.published is None or "address" not in seen.published.values:
                    raise RuntimeError(f"{name} was not processed: {seen}")
            return time.perf_counter() - started

    def cold_pass(self) -> None:
        """Read everything and look at every partition; starting any process is a failure."""
        before = {child.pid for child in psutil.Process().children(recursive=True)}
        with self.agent() as agent:
            self.warm_pass(agent)
        if {child.pid for child in psutil.Process().children(recursive=True)} - before:
            raise RuntimeError("a pass without changes has started a process")

    def warm_pass(self, agent: Agent) -> None:
        for name in self.config.partition_names:
            agent.instances.process(name)


def measure(quick: bool) -> Result:
    logging.disable(logging.WARNING)
    rounds = 5 if quick else 20
    with tempfile.TemporaryDirectory(prefix="b05-") as folder:
        node = Node(Path(folder))
        changed = node.process_once()
        cold = median(alternately({"ours": inside(node.cold_pass)}, rounds)["ours"])
        with node.agent() as agent:
            warm: Sample = median(alternately({"ours": inside(lambda: node.warm_pass(agent))}, rounds)["ours"])
    return Result(
        id="B5",
        what=f"pass over {PARTITIONS} unchanged partitions",
        ours=round(cold.wall, 4),
        peer=SLAPGRID_SECONDS,
        unit="s",
        goal="<= 0.3 s, no process started",
        holds=cold.wall <= GOAL_SECONDS,
        details={
            "cpu": round(cold.cpu, 4),
            "warm": round(warm.wall, 5),
            "all_changed": round(changed, 2),
            "peer_note": "slapos.core 1.26.1, a recorded figure",
        },
    )


if __name__ == "__main__":
    sys.exit(main(measure))
