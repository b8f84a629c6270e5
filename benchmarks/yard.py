# SPDX-License-Identifier: Apache-2.0
"""A release and a store whose builds are disturbed: what it is made of, and what there is of it afterwards.

What is compared is all but what tells of the builds themselves: their logs, the locks' files (which stay), the seconds
that are noted of each part, buildout's record of the release, and in the manifest the hash of the recipes' own code,
which somebody may be editing.
"""

import hashlib
import io
import json
import shutil
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from allotment_recipes.graph.events import EVENTS, read
from allotment_recipes.shared_store import is_whole, remove
from allotment_recipes.store import padded_root

ROOT: Final = Path(__file__).parents[1]
PATIENCE: Final = 600.0  # seconds for a build
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

    def halves(self, calm: Mapping[str, str]) -> list[str]:
        """Return what differs from an undisturbed build's picture in the parts that have their final names."""
        wrong = []
        for part in self.store.glob("[!.]*"):
            if is_whole(part):  # not what goes meanwhile
                head = f"store/{part.name}"
                whole = {name: text for name, text in calm.items() if name == head or name.startswith(f"{head}/")}
                wrong += [f"half a part is there: {part.name}"] if picture(part, head) != whole else []
        return wrong

    def differences(self, calm: Mapping[str, str]) -> list[str]:
        """Return what differs from an undisturbed build's picture."""
        now = self.picture()
        return [
            f"{name}: {now.get(name, 'is not there')}, undisturbed: {calm.get(name, 'is not there')}"
            for name in sorted({*now, *calm})
            if now.get(name) != calm.get(name)
        ]

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
