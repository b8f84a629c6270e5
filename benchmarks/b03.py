# SPDX-License-Identifier: Apache-2.0
"""B3: the recipes of a trivial instance, run again in place.

Ours is what a node asks its build engine for, which is warm: it reads the instance's input, renders a file, publishes
the address and tells what is requested. The peer is zc.buildout in a process of its own, as slapgrid starts it; it only
renders, with ``slapos.recipe.template``. The file must be the same on both sides. ``partition`` is all that a node does
for a partition whose document has changed; ``slapgrid`` is what SlapOS's did, as it was measured on another day.
"""

import itertools
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from allotment.messages.desired_state import DesiredState, NodeDesiredState, Supply
from allotment.messages.instance import InstanceState
from allotment.messages.manifest import DEFAULT_TYPE
from allotment_node.agent import Agent
from allotment_recipes.engine import BuildEngine, InstanceRun
from benchmarks import peers
from benchmarks.b05 import INSTANCE, Node
from benchmarks.measure import Result, alternately, inside, main, mean_cpu, median

GOAL_RATIO = 20
PARTITION_SECONDS = 0.060
SLAPGRID_SECONDS = 1.5  # slapos.core 1.26 on 2 cores; it is not on this machine

CONFIG = """\
[config]
recipe = {recipe}
inline = address = {address}
output = ${{buildout:directory}}/service.conf
"""


class Ours:
    """A node with one instance."""

    def __init__(self, folder: Path, engine: BuildEngine) -> None:
        section = CONFIG.format(recipe="allotment.recipes:template.jinja2", address="${slap-configuration:address}")
        profile = INSTANCE.replace("parts = publish", "parts = config publish") + "\n" + section
        self.node = Node(folder, instance=profile)
        self._engine = engine
        self._name = self.node.config.partition_names[0]
        self._log = folder / "run.log"
        self._generations = itertools.count(1)

    def install(self, agent: Agent) -> None:
        agent.documents.apply(NodeDesiredState(1, (Supply(self.node.release.manifest.sha256, development=True),), ()))
        self._software = agent.software.install(self.node.release.manifest.sha256, True)

    def change(self, agent: Agent) -> Callable[[], None]:
        """Return a function that gives the instance another parameter and processes its partition."""

        def process() -> None:
            number = next(self._generations)
            sha256 = self.node.release.manifest.sha256
            document = DesiredState(
                self._name, number, "bench", "inst", "inst", "inst", sha256, DEFAULT_TYPE, InstanceState.STARTED,
                parameters={"number": number},
            )  # fmt: skip
            agent.documents.apply(NodeDesiredState(number + 1, (Supply(sha256, development=True),), (document,)))
            agent.instances.process(self._name)
            seen = agent.observations.instance(self._name)
            if seen is None or seen.published is None or seen.generation != number:
                raise RuntimeError(f"the partition was not processed: {seen}")

        return process

    def run_again(self) -> None:
        """Run the recipes."""
        result = self._engine.instance(InstanceRun(self._software, self.partition), self._log)
        if result.outcome != "done":
            raise RuntimeError(f"the instance was not processed: {result}")

    @property
    def partition(self) -> Path:
        return self.node.folder.partitions / self._name


def measure(quick: bool) -> Result:
    rounds = 10 if quick else 40
    with tempfile.TemporaryDirectory(prefix="b03-") as name, BuildEngine() as engine:
        folder = Path(name).resolve()
        ours = Ours(folder, engine)
        with ours.node.agent() as agent:
            ours.install(agent)
            change = ours.change(agent)
            change()
            ours.run_again()
            file = (ours.partition / "service.conf").read_text()
            address = file.removeprefix("address = ")
            section = CONFIG.format(recipe="slapos.recipe.template", address=address)
            peer = peers.buildout(peers.profile(folder / "peer", ["config"], section))
            peer()
            if not address or (folder / "peer" / "service.conf").read_text() != file:
                raise RuntimeError("the files of the two sides are not equal")
            samples = alternately({"ours": inside(ours.run_again), "peer": peer}, rounds)
            partition = median(alternately({"partition": inside(change)}, rounds)["partition"]).wall
    medians = {name: median(item) for name, item in samples.items()}
    cpu = mean_cpu(samples["ours"])
    return Result(
        id="B3",
        what="recipes of a trivial instance, in place",
        ours=round(medians["ours"].wall, 4),
        peer=round(medians["peer"].wall, 4),
        unit="s",
        goal="<= 20 ms: 20 x; partition <= 60 ms: 25 x",
        holds=medians["peer"].wall >= GOAL_RATIO * medians["ours"].wall and partition <= PARTITION_SECONDS,
        details={
            "cpu": round(cpu, 4),
            "peer_cpu": round(medians["peer"].cpu, 4),
            "cpu_ratio": round(medians["peer"].cpu / cpu, 1),
            "partition": round(partition, 4),
            "slapgrid": SLAPGRID_SECONDS,
            "partition_ratio": round(SLAPGRID_SECONDS / partition, 1),
            "peer_note": "zc.buildout 6.0.1, slapos.recipe.template 5.1; slapgrid is a recorded figure",
        },
    )


if __name__ == "__main__":
    sys.exit(main(measure))
