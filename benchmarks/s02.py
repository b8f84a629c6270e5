# SPDX-License-Identifier: Apache-2.0
"""S2: `allot build` is killed at random moments and run again, and the store is as if nothing had happened.

Each run begins with an empty store and an empty release, of parts of which several are at work at the same time. A
build of it is killed at a random moment of the time that
an undisturbed one takes: the command alone, its process group, or all that it has started. At that moment no part may
have its final name that is not whole. Then the build is run again, and when it has ended store and release must hold
the same names, modes, links and bytes as undisturbed ones, nothing temporary, and no lock that anybody holds.

What is compared is all but what tells of the builds themselves: their logs, the locks' files (which stay), the seconds
that are noted of each part, buildout's record of the release, and in the manifest the hash of the recipes' own code,
which somebody may be editing.
"""

import argparse
import contextlib
import fcntl
import hashlib
import io
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from allotment_recipes.graph.events import EVENTS, read
from allotment_recipes.shared_store import remove
from allotment_recipes.store import padded_root
from benchmarks.measure import machine

ROOT: Final = Path(__file__).parents[1]
RUNS: Final = 50
QUICK_RUNS: Final = 3
PATIENCE: Final = 600.0  # seconds for a build, and 10 for a lock to be free
MANNERS: Final = ("command", "group", "everything")
TELLS_OF_BUILDS: Final = frozenset(
    {".log", ".lock", ".built", "build.log", ".installed.cfg", ".parts.jsonl", EVENTS, "manifest.json"}
)

TOLD: Final = ("release/.build/inputs.json", "release/.build/unchanged.json")  # when what was built
COMPONENTS: Final = ("bzip2", "lua", "zlib")
JOBS: Final = 3
INSTANCE: Final = """
[profile]
recipe = allotment.recipes:template.jinja2
url = ${:_profile_base_location_}/instance.cfg.in
output = ${buildout:directory}/instance.cfg
context =
"""
DESCRIPTION: Final = {
    "format": 1,
    "name": "killed",
    "licences": ["Apache-2.0"],
    "types": {
        "default": {
            "title": "Killed",
            "description": "It is built, and never run",
            "profile": "instance.cfg",
            "parameters": "any.json",
            "published": "any.json",
        }
    },
}
GRAPH: Final = {"base": (), "left": ("base",), "right": ("base",), "top": ("left", "right")}
QUICK: Final = {  # the sources of a part that is made in a second
    "Makefile": "PROGRAMS = one two three four\n"
    "all: $(PROGRAMS)\n"
    "install: all\n\tmkdir -p $(PREFIX)/bin\n"
    "\tfor name in $(PROGRAMS); do cp $$name $(PREFIX)/bin/ && ln -s $$name $(PREFIX)/bin/$$name-too || exit; done\n",
    **{f"{name}.c": f"int main(void) {{ return {len(name)}; }}\n" for name in ("one", "two", "three", "four")},
}


def write_release(folder: Path, parts: str, head: str) -> Path:
    """Write the release ``killed`` below ``folder``: its software.cfg builds ``parts``."""
    place = folder / "software/killed"
    place.mkdir(parents=True)
    context = "".join(f"  raw {part} ${{{part}:location}}\n" for part in parts.split())
    (place / "software.cfg").write_text(f"{head}parts = {parts} profile\n{INSTANCE}{context}")
    (place / "instance.cfg.in").write_text(f"[buildout]\nparts =\n# {{{{ {parts.split()[0]} }}}}\n")
    (place / "software.cfg.json").write_text(json.dumps(DESCRIPTION))
    (place / "any.json").write_text('{"type": "object"}')
    return place


def write_components(folder: Path) -> Path:
    """Write a release of real components."""
    shutil.copytree(ROOT / "components", folder / "components")
    extends = "".join(f"  ../../components/{name}/buildout.cfg\n" for name in COMPONENTS)
    return write_release(folder, " ".join(COMPONENTS), f"[buildout]\nextends =\n{extends}")


def write_quick(folder: Path) -> Path:
    """Write a release of four small parts, two of them beside each other, from an archive that is made here."""
    archive = folder / "quick.tar"
    with tarfile.open(archive, "w") as file:
        for name, text in QUICK.items():
            member = tarfile.TarInfo(f"quick-1/{name}")
            member.size = len(text)
            file.addfile(member, io.BytesIO(text.encode()))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    section = f"recipe = allotment.recipes:cmmi\nurl = {archive}\nsha256sum = {digest}\nconfigure-command = true\n"
    text = ""
    for name, needed in GRAPH.items():
        before = " ".join(f"BEFORE_{part}=${{{part}:location}}" for part in needed)
        text += f"[{name}]\n{section}make-options = PREFIX=@@LOCATION@@ {before}\n"
    return write_release(folder, " ".join(GRAPH), f"{text}[buildout]\n")


@dataclass(frozen=True)
class Yard:
    """One store and one release, built by the command as a user runs it."""

    place: Path
    profile: Path
    sources: Path

    @property
    def folder(self) -> Path:
        return self.place / "release"

    @property
    def store(self) -> Path:
        return padded_root(self.place / "store")

    def start(self) -> "subprocess.Popen[str]":
        words = ["--folder", self.folder, "--sources", self.sources, "--store", self.place / "store"]
        words += ["--jobs", str(JOBS)]
        command = [sys.executable, "-m", "allotment", "build", self.profile, *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True, start_new_session=True)

    def build(self) -> float:
        """Build to the end and return the seconds."""
        began = time.monotonic()
        with self.start() as process:
            output, _ = process.communicate(timeout=PATIENCE)
        if process.returncode != 0:
            raise RuntimeError(f"the build ended with {process.returncode}:\n{output}")
        return time.monotonic() - began

    def at_work(self) -> int:
        """Return how many parts were at work at the same time, at most, in the last build."""
        running, most = 0, 0
        for event in read(self.folder):
            running += {"started": 1, "built": -1}.get(event.event, 0)
            most = max(most, running)
        return most

    def clear(self) -> None:
        for folder in (self.place / "store", self.folder):
            remove(folder)

    def picture(self) -> dict[str, str]:
        """Return what all in store and release is, but what tells of the builds themselves."""
        found = {"release/manifest.json": self._manifest()}
        for name, root in (("store", self.store), ("release", self.folder)):
            for path in root.iterdir():
                if path.name not in TELLS_OF_BUILDS:
                    found.update(picture(path, f"{name}/{path.name}"))
        return {name: text for name, text in found.items() if not name.startswith(TOLD)}

    def _manifest(self) -> str:
        path = self.folder / "manifest.json"
        manifest = json.loads(path.read_bytes()) if path.exists() else {}
        return json.dumps({key: value for key, value in manifest.items() if key != "distributions"})

    def locks(self) -> Iterator[Path]:
        yield from (path for path in (*self.folder.glob(".*lock"), *self.store.glob(".lock/*")) if path.exists())


def picture(root: Path, name: str) -> dict[str, str]:
    """Return kind, mode, link and bytes of a path, as ``name``, and of all below it."""
    found = {name: looks(root)}
    if root.is_dir() and not root.is_symlink():
        for path in sorted(root.rglob("*")):
            found[f"{name}/{path.relative_to(root)}"] = looks(path)
    return found


def looks(path: Path) -> str:
    """Return what a path is, as text that is equal for equal things."""
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return f"-> {path.readlink()}"
    data = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(status.st_mode) else ""
    return f"{stat.filemode(status.st_mode)} {data}"


def is_held(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def kill(process: "subprocess.Popen[str]", manner: str) -> None:
    """Kill the command alone, with its process group, or with all that it has started."""
    if manner == "command":
        process.kill()
    elif manner == "group":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        for victim in (*psutil.Process(process.pid).children(recursive=True), process):
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended by itself
                victim.kill()
    process.communicate(timeout=PATIENCE)


class Campaign:
    """``runs`` builds that are killed; each that does not end as an undisturbed one is lost."""

    def __init__(self, yard: Yard, chance: random.Random) -> None:
        self._yard = yard
        self._chance = chance
        self._seconds = 0.0  # of an undisturbed build
        self._calm: dict[str, str] = {}

    def prepare(self) -> None:
        """Fetch the sources, and look at what an undisturbed build gives."""
        self._yard.build()
        self._yard.clear()
        self._seconds = self._yard.build()
        if self._yard.at_work() < 2:
            raise RuntimeError("no two parts were at work at the same time")
        self._calm = self._yard.picture()

    def run(self) -> list[str]:
        """Kill one build and run it again; return all that is wrong then."""
        moment, manner = self._disturb()
        sys.stderr.write(f"killed {manner} after {moment:.2f} of {self._seconds:.2f} s\n")
        wrong = [f"half a part is there: {name}" for name in self._halves()]
        try:
            self._await_release()
            self._yard.build()
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            return [*wrong, str(error)]
        after = self._yard.picture()
        names = sorted({*after, *self._calm})
        wrong += [
            f"{name}: {after.get(name, 'is not there')}, undisturbed: {self._calm.get(name, 'is not there')}"
            for name in names
            if after.get(name) != self._calm.get(name)
        ]
        return wrong + [f"{path} is held" for path in self._yard.locks() if is_held(path)]

    def _disturb(self) -> tuple[float, str]:
        """Kill a build of an empty store; one that has ended before its moment does not count."""
        while True:
            self._yard.clear()
            moment, manner = self._chance.uniform(0.0, self._seconds), self._chance.choice(MANNERS)
            process = self._yard.start()
            try:
                process.communicate(timeout=moment)
            except subprocess.TimeoutExpired:
                kill(process, manner)
                return moment, manner

    def _halves(self) -> list[str]:
        """Return what differs from the undisturbed in the parts that have their final names."""
        wrong = []
        for part in self._yard.store.glob("[!.]*"):
            if not part.is_symlink():
                head = f"store/{part.name}"
                calm = {name: text for name, text in self._calm.items() if name == head or name.startswith(f"{head}/")}
                wrong += [part.name] if picture(part, head) != calm else []
        return wrong

    def _await_release(self) -> None:
        """Wait until the killed run has ended; for what it has started the next build waits by itself."""
        lock, deadline = self._yard.folder / ".lock", time.monotonic() + 10.0
        while lock.exists() and is_held(lock):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{lock} is held by what was killed")
            time.sleep(0.02)


def main() -> int:
    """Print one JSON object, or one line a run and what was lost; exit with 1 when anything was."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.s02")
    parser.add_argument("--json", action="store_true", help="one object on one line")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_RUNS} runs of parts that are made in a second")
    parser.add_argument("--runs", type=int, help=f"how many builds are killed; default: {RUNS}")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32), help="of the moments")
    options = parser.parse_args()
    runs = options.runs or (QUICK_RUNS if options.quick else RUNS)
    sys.stderr.write(f"seed {options.seed}\n")
    lost = 0
    with tempfile.TemporaryDirectory(prefix="s02-") as name:
        place = Path(name).resolve()
        profile = (write_quick if options.quick else write_components)(place)
        yard = Yard(place, profile, place / "sources" if options.quick else ROOT / "var/sources")
        campaign = Campaign(yard, random.Random(options.seed))
        campaign.prepare()
        for _ in range(runs):
            if wrong := campaign.run():
                lost += 1
                sys.stderr.write("lost: " + "\n  ".join(wrong) + "\n")
        yard.clear()
    holds = lost == 0
    result = {"id": "S2", "runs": runs, "lost": lost, "holds": holds, "seed": options.seed, "machine": machine()}
    print(
        json.dumps(result)
        if options.json
        else f"S2   {runs} builds killed, {lost} lost  {'holds' if holds else 'MISSED'}"
    )
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
