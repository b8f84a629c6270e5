# SPDX-License-Identifier: Apache-2.0
"""Releases of small real parts, each compiled from a C source that is made here."""

import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from allotment_recipes.engine import BuildRequest, BuildResult
from allotment_recipes.graph.events import Event, read
from allotment_recipes.store import padded_root

MAKEFILE = "all: one\ninstall: all\n\tmkdir -p $(PREFIX)/bin\n\tcp one $(PREFIX)/bin/\n"


@dataclass(frozen=True)
class Graph:
    """Parts that refer to each other, built into a store of their own."""

    release: Any
    place: Path
    section: str  # of a part that takes no time

    def write(self, parts: Mapping[str, str], more: str = "") -> None:
        """Write software.cfg: each part refers to those that its lines begin with, and has the options after them.

        ``"base left | pre-build = sleep 1"`` is one that needs base and left, and takes a second.
        """
        text = f"[buildout]\nparts = {' '.join(parts)}\n{more}\n"
        for name, lines in parts.items():
            needed, _, options = lines.partition("|")
            places = " ".join(f"NEEDS=${{{other}:location}}" for other in needed.split())
            text += f"[{name}]\n{self.section}make-options = PREFIX=@@LOCATION@@ {places}\n{options.strip()}\n"
        self.release.write("software.cfg", text)

    def request(self, folder: str = "built", **more: Any) -> BuildRequest:
        root, sources = self.release.root, self.release.sources
        more = {"jobs": 4, **more}
        return BuildRequest(root, "software.cfg", self.place / folder, sources, 60.0, store=self.place / "s", **more)

    @property
    def held(self) -> str:
        """An option of parts that wait until `let_go` is called."""
        (self.release.root / "signals").mkdir(exist_ok=True)
        return "pre-build = while [ ! -e ${:_profile_base_location_}/signals/go ]; do sleep 0.05; done"

    def let_go(self) -> None:
        (self.release.root / "signals/go").touch()

    def build(self, folder: str = "built", **more: Any) -> BuildResult:
        result: BuildResult = self.release.engine.build(self.request(folder, **more), self.log(folder))
        return result

    def log(self, folder: str = "built") -> Path:
        return self.place / folder / "build.log"

    def events(self, folder: str = "built") -> list[Event]:
        return read(self.place / folder)

    def ended(self, folder: str = "built") -> dict[str, str]:
        """Return how each part ended."""
        return {event.part: event.event for event in self.events(folder) if event.event not in ("waiting", "started")}

    def at_work(self, folder: str = "built") -> set[str]:
        """Return the parts that have begun, and not ended."""
        return {event.part for event in self.events(folder) if event.event == "started"} - {*self.ended(folder)}

    def times(self, folder: str = "built") -> dict[str, tuple[float, float]]:
        """Return when each part that was built began and ended."""
        began = {event.part: event.at for event in self.events(folder) if event.event == "started"}
        return {event.part: (began[event.part], event.at) for event in self.events(folder) if event.event == "built"}

    @property
    def store(self) -> Path:
        return padded_root(self.place / "s")

    def parts(self) -> list[str]:
        """Return the names of the whole parts of the store."""
        return sorted(path.name.partition("-")[0] for path in self.store.glob("[!._]*") if not path.is_symlink())


@pytest.fixture
def graph(release: Any, short_path: Path) -> Graph:
    archive = short_path / "one.tar"
    with tarfile.open(archive, "w") as file:
        for name, text in {"Makefile": MAKEFILE, "one.c": "int main(void) { return 0; }\n"}.items():
            member = tarfile.TarInfo(f"one-1/{name}")
            member.size = len(text)
            file.addfile(member, io.BytesIO(text.encode()))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    lines = f"recipe = allotment.recipes:cmmi\nurl = {archive}\nsha256sum = {digest}\nconfigure-command = true\n"
    return Graph(release, short_path, lines)
