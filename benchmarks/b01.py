# SPDX-License-Identifier: Apache-2.0
"""B1: the components that most releases need, built from nothing.

Ours is one build of a profile that extends ``components/``, into an empty store; the peer is zc.buildout with
``slapos.recipe.cmmi`` over the same sections, with the same compiler options and ``-j``, one part after the other. The
sources are there already on both sides, and each part must have the same files. The bound, from the same run, is the
longest chain of parts, each as if it were alone, or all CPU time on all cores, whichever is more. What 16 cores would
do is simulated from the CPU time of each step; see ``simulated``. It is compared with the peer as measured here: one
part after the other on 16 cores too takes less than twice the longest chain, so no order of parts could be 4 times as
fast as that; the details have it. The full form draws who ran when into ``docs/explanation/b01.svg``; ``--quick`` takes
four small components.
"""

import hashlib
import itertools
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

from allotment.blobs import BlobStore
from allotment_recipes.engine import BuildEngine, BuildRequest
from allotment_recipes.graph.chart import Bar, Panel, bars, draw
from allotment_recipes.graph.events import Event
from allotment_recipes.graph.events import read as read_events
from allotment_recipes.shared_store import remove
from allotment_recipes.sources import Source, fetch_all
from allotment_recipes.store import padded_root
from benchmarks import peers
from benchmarks.measure import Result, Sample, alternately, inside, main, median
from benchmarks.simulated import Step, critical_path, simulate

ROOT = Path(__file__).parents[1]
COMPONENTS = ROOT / "components"
SOURCES = ROOT / "var" / "sources"
QUICK = ("bzip2", "libffi", "lua", "zlib")
# In an order in which one after the other can be built; bzip2 and lua are what python3 and haproxy need.
FULL = (
    "zlib",
    "bzip2",
    "xz",
    "openssl",
    "pcre2",
    "libffi",
    "expat",
    "lua",
    "ncurses",
    "readline",
    "sqlite3",
    "python3",
    "nginx",
    "haproxy",
)
BOUND_RATIO = 1.08
SIMULATED_CORES = 16
SIMULATED_RATIO = 4.0
CHART = ROOT / "docs/explanation/b01.svg"
CORES = len(os.sched_getaffinity(0))
TIMEOUT = 7200.0  # seconds of one build
_REFERENCE = re.compile(r"\$\{([\w-]+):location\}")
_NOT_BUILDING = (
    "recipe",
    "description",
    "version",
    "licence",
    "purl",
    "url",
    "debian-source",
    "sha256sum",
    "host-tools",
    "promises",
)


def read(name: str) -> dict[str, str]:
    """Return the section of a component."""
    parser = RawConfigParser(delimiters="=")
    parser.read(COMPONENTS / name / "buildout.cfg")
    return dict(parser[name])


def source(name: str) -> Source:
    section = read(name)
    urls = (section["url"],) if "url" in section else ()
    return Source(section["sha256sum"], name, urls, debian=section.get("debian-source", ""))


class Ours:
    """Builds of ours, each in an empty folder with an empty store."""

    def __init__(self, folder: Path, names: tuple[str, ...], engine: BuildEngine) -> None:
        self._folder = folder
        self._engine = engine
        self._names = names
        self._numbers = itertools.count()
        self.place = folder / "none"
        self._tree = folder / "tree"
        shutil.copytree(COMPONENTS, self._tree / "components")
        extends = "".join(f"  components/{name}/buildout.cfg\n" for name in names)
        (self._tree / "software.cfg").write_text(f"[buildout]\nextends =\n{extends}parts = {' '.join(names)}\n")

    def build(self) -> Sample:
        remove(self.place)
        self.place = self._folder / f"ours-{next(self._numbers)}"
        request = BuildRequest(
            self._tree, "software.cfg", self.place / "built", SOURCES, TIMEOUT, store=self.place / "store"
        )
        return inside(lambda: self._run(request))()

    def _run(self, request: BuildRequest) -> None:
        result = self._engine.build(request, self.place / "log")
        if not result.ok:
            raise RuntimeError(result.error)

    def notes(self) -> dict[str, dict[str, Any]]:
        """Return how each part of the last build was built."""
        found = [json.loads(path.read_bytes()) for path in padded_root(self.place / "store").glob(".built/*.json")]
        return {note["part"]: note for note in found}

    def files(self) -> dict[str, set[str]]:
        """Return the names of the files of each part of the last build."""
        root = padded_root(self.place / "store")
        return {name: names_below(next(root.glob(f"{name}-*"))) for name in self._names}

    def events(self) -> list[Event]:
        """Return what the last build did when."""
        return read_events(self.place / "built")

    def references(self) -> dict[str, list[str]]:
        """Map each part of the last build to those that it refers to."""
        notes = self.notes()
        return {name: [text.partition("-")[0] for text in notes[name]["references"]] for name in self._names}

    def steps(self) -> dict[str, list[Step]]:
        """Return what each part of the last build did; last what is no command: unpacking, checking, sealing."""
        notes = self.notes()
        used = {event.part: event.cpu for event in self.events() if event.event == "built"}
        found = {}
        for name in self._names:
            steps = [Step(phase["cpu"], phase["step"] == "make") for phase in notes[name]["phases"]]
            rest = used[name] - sum(step.cpu for step in steps)
            found[name] = [*steps, Step(max(rest, 0.01), is_parallel=False)]
        return found


class Peer:
    """Builds of the peer."""

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        self._folder = folder
        self._names = names
        self._numbers = itertools.count()
        self._sections = "\n".join(self._section(name) for name in names)
        self.place = folder / "none"
        (folder / "empty").mkdir()
        nothing = (
            f"recipe = slapos.recipe.cmmi\npath = {folder / 'empty'}\nconfigure-command = true\nmake-binary = true\n"
        )
        peers.buildout(peers.profile(folder / "eggs", ["nothing"], f"[nothing]\n{nothing}"))()  # fetches the recipe

    def build(self) -> Sample:
        shutil.rmtree(self.place, ignore_errors=True)
        self.place = self._folder / f"peer-{next(self._numbers)}"
        return peers.buildout(peers.profile(self.place, list(self._names), self._sections))()

    def files(self) -> dict[str, set[str]]:
        return {name: names_below(self.place / "parts" / name) for name in self._names}

    @staticmethod
    def _section(name: str) -> str:
        """Return a component's section for the peer; it sets no variables itself, so it is told of each part in it."""
        section = read(name)
        archive = BlobStore(SOURCES).path(section["sha256sum"])
        md5 = hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest()
        parts = sorted(set(_REFERENCE.findall(" ".join(section.values()))))
        places = [f"${{{part}:location}}" for part in parts]
        options = {key: text for key, text in section.items() if key not in _NOT_BUILDING}
        options["make-options"] = f"-j{CORES} {options.get('make-options', '')}"
        own = options.get("environment", "").split("\n")
        set_here = {line.partition("=")[0].strip() for line in own}  # said twice, a variable is an error there
        ours = [line for line in environment(places) if line.partition("=")[0] not in set_here]
        options["environment"] = "\n".join(["", *ours, *own])
        lines = [f"{key} = {text}".replace("\n", "\n  ") for key, text in options.items()]
        return "\n".join(
            [f"[{name}]", "recipe = slapos.recipe.cmmi", f"url = {archive}", f"md5sum = {md5}", *lines, ""]
        )


def environment(places: list[str]) -> Iterator[str]:
    """Yield the variables of our builds, for a part that refers to those in ``places``."""
    yield from ("CFLAGS=-O2", "CXXFLAGS=-O2", "LC_ALL=C", "SOURCE_DATE_EPOCH=315532800")
    run_path = [f"-L{place}/lib -Wl,-rpath={place}/lib" for place in places]
    yield f"LDFLAGS={' '.join([*run_path, '-Wl,-rpath=@@LOCATION@@/lib'])}"
    if places:
        yield f"CPATH={':'.join(f'{place}/include' for place in places)}"
        yield f"LIBRARY_PATH={':'.join(f'{place}/lib' for place in places)}"
        yield f"PATH={':'.join(f'{place}/bin' for place in places)}:/usr/bin:/bin"


def end(found: Sequence[Bar]) -> float:
    return max(bar.end for bar in found)


def names_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def measure(quick: bool) -> Result:
    names = QUICK if quick else FULL
    fetch_all((source(name) for name in names), BlobStore(SOURCES))
    with tempfile.TemporaryDirectory(prefix="b01-") as place, BuildEngine() as engine:
        folder = Path(place).resolve()
        ours, peer = Ours(folder, names, engine), Peer(folder, names)
        samples = alternately({"ours": ours.build, "peer": peer.build}, 1, uncounted=0)
        if ours.files() != peer.files():
            raise RuntimeError(f"the parts of the two sides are not equal: {ours.files()} and {peer.files()}")
        references, steps, measured = ours.references(), ours.steps(), bars(ours.events())
        remove(ours.place)
    simulated = [simulate(references, steps, SIMULATED_CORES, at_once) for at_once in (SIMULATED_CORES, 1)]
    many, single = map(end, simulated)
    if not quick:
        panels = [
            Panel(f"{CORES} cores, measured: {end(measured):.0f} s", measured),
            Panel(f"{SIMULATED_CORES} cores, simulated: {many:.0f} s", simulated[0]),
            Panel(f"{SIMULATED_CORES} cores, one part after the other, simulated: {single:.0f} s", simulated[1]),
        ]
        CHART.write_text(draw(f"A cold build of {len(names)} components", panels))
    critical = critical_path(references, steps, CORES)
    our, their = median(samples["ours"]), median(samples["peer"])
    bound = max(critical, our.cpu / CORES)
    return Result(
        id="B1",
        what=f"cold build of {len(names)} components",
        ours=round(our.wall, 1),
        peer=round(their.wall, 1),
        unit="s",
        goal="<= 1.08 x bound; no more CPU than the peer; 16 cores: >= 4 x",
        holds=our.wall <= BOUND_RATIO * bound
        and our.cpu <= their.cpu
        and (quick or their.wall >= SIMULATED_RATIO * many),
        details={
            "cpu": round(our.cpu, 1),
            "peer_cpu": round(their.cpu, 1),
            "bound": round(bound, 1),
            "critical_path": round(critical, 1),
            "of_bound": round(our.wall / bound, 2),
            "simulated_16_cores": round(many, 1),
            "simulated_16_cores_bound": round(
                max(critical_path(references, steps, SIMULATED_CORES), our.cpu / SIMULATED_CORES), 1
            ),
            "simulated_16_cores_peer": round(single, 1),
            "simulated_16_cores_ratio": round(single / many, 2),
            "simulated_16_cores_to_peer_here": round(their.wall / many, 2),
            "components": names,
            "peer_note": "zc.buildout 6.0.1, slapos.recipe.cmmi 0.23",
        },
    )


if __name__ == "__main__":
    sys.exit(main(measure))
