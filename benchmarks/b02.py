# SPDX-License-Identifier: Apache-2.0
"""B2: a software release of 100 parts, run again with nothing changed.

Each part is a component that the recipe ``cmmi`` builds from a source archive, and refers to the one before it. Ours is
what a node asks its build engine for, which is warm; the peer is zc.buildout with ``slapos.recipe.cmmi`` over the same
sections. Every part must hold the same on both sides. ``node`` is a whole agent that finds the release installed, which
is what ``slapos node software`` does in ``slapos`` seconds; ``cli`` is ``allot build``, from the start of Python to the
manifest.
"""

import hashlib
import sys
import tarfile
import tempfile
from pathlib import Path

from allotment_recipes.engine import BuildEngine
from allotment_recipes.manifest import install_release
from benchmarks import peers
from benchmarks.b05 import PROFILE, Node
from benchmarks.measure import Result, alternately, command, inside, main, mean_cpu, median

GOAL_RATIO = 20
SLAPOS_SECONDS = 0.75  # `slapos node software`, unchanged, slapos.core 1.26 on 2 cores; not on this machine
PARTS = [f"part{number:03d}" for number in range(100)]


def sections(recipe: str, pin: str) -> str:
    """Return the sections of all parts: the same for us and for the peer."""
    texts = [f"[base]\nrecipe = {recipe}\n{pin}\nconfigure-command = true\nmake-binary = true\n"]
    for number, part in enumerate(PARTS):
        before = f"environment =\n  BEFORE=${{{PARTS[number - 1]}:location}}\n" if number else ""
        install = f"  mkdir -p @@LOCATION@@/share\n  echo {part} > @@LOCATION@@/share/name\n"
        texts.append(f"[{part}]\n<= base\n{before}post-install =\n{install}")
    return "\n".join(texts)


def write_source(folder: Path) -> Path:
    """Write the archive that all parts are made from."""
    path = folder / "component-1.tar.gz"
    with tarfile.open(path, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("component-1/README"))
    return path


class Ours:
    """The release on a node."""

    def __init__(self, folder: Path, source: Path, engine: BuildEngine) -> None:
        self._folder = folder
        self._engine = engine
        pin = f"url = {source}\nsha256sum = {hashlib.sha256(source.read_bytes()).hexdigest()}"
        profile = PROFILE.replace("parts =", f"parts = {' '.join(PARTS)}") + sections("allotment.recipes:cmmi", pin)
        self.node = Node(folder, profile)
        self._manifest = self.node.release.manifest
        self.node_pass()

    def engine_pass(self) -> None:
        """Install the release over itself."""
        place, log = self._folder / "again", self._folder / "again.log"
        closure, sources, store = self.node.release.closure, self._folder / "sources", self.node.folder.store
        result = install_release(self._manifest, closure, place, sources, self._engine, log, store=store)
        if not result.ok or not result.parts.keys() > set(PARTS):
            raise RuntimeError(f"the release was not installed: {result}")

    def node_pass(self) -> None:
        """Start an agent and install the release, unless it is there."""
        with self.node.agent() as agent:
            agent.software.install(self._manifest.sha256, True)

    def cli(self) -> list[str]:
        """Return the command that builds the release again."""
        folders = {"folder": "built", "sources": "sources", "store": "node/store"}
        options = [word for name, place in folders.items() for word in (f"--{name}", str(self._folder / place))]
        return [sys.executable, "-m", "allotment", "build", str(self.node.root), *options]

    def names(self) -> list[str]:
        return sorted(path.read_text() for path in self.node.folder.store.glob("*/part*/share/name"))


def measure(quick: bool) -> Result:
    rounds = 5 if quick else 20
    with tempfile.TemporaryDirectory(prefix="b02-") as name, BuildEngine() as engine:
        folder = Path(name).resolve()
        source = write_source(folder)
        ours = Ours(folder, source, engine)
        pin = f"url = {source}\nmd5sum = {hashlib.md5(source.read_bytes(), usedforsecurity=False).hexdigest()}"
        peer = peers.profile(folder / "peer", PARTS, sections("slapos.recipe.cmmi", pin))
        runs = {
            "ours": inside(ours.engine_pass),
            "peer": peers.buildout(peer),
            "node": inside(ours.node_pass),
            "cli": command(ours.cli()),
        }
        runs["ours"](), runs["peer"]()  # the first of the peer builds
        if ours.names() != [f"{part}\n" for part in PARTS] or ours.names() != sorted(
            path.read_text() for path in peer.parent.glob("parts/*/share/name")
        ):
            raise RuntimeError("the parts of the two sides are not equal")
        samples = alternately(runs, rounds)
    medians = {name: median(item) for name, item in samples.items()}
    cpu = mean_cpu(samples["ours"])
    return Result(
        id="B2",
        what=f"release of {len(PARTS)} parts, nothing changed",
        ours=round(medians["ours"].wall, 4),
        peer=round(medians["peer"].wall, 4),
        unit="s",
        goal="<= 30 ms: 20 x",
        holds=medians["peer"].wall >= GOAL_RATIO * medians["ours"].wall,
        details={
            "cpu": round(cpu, 4),
            "peer_cpu": round(medians["peer"].cpu, 4),
            "cpu_ratio": round(medians["peer"].cpu / cpu, 1),
            "node": round(medians["node"].wall, 4),
            "node_ratio": round(SLAPOS_SECONDS / medians["node"].wall),
            "slapos": SLAPOS_SECONDS,
            "cli": round(medians["cli"].wall, 4),
            "cli_cpu": round(medians["cli"].cpu, 4),
            "peer_note": "zc.buildout 6.0.1, slapos.recipe.cmmi 0.23; slapos is a recorded figure",
        },
    )


if __name__ == "__main__":
    sys.exit(main(measure))
