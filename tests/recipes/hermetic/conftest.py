# SPDX-License-Identifier: Apache-2.0
"""Fixtures: a folder for sandboxes, and releases of parts whose sources are written in a test."""

import hashlib
import io
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from allotment_recipes.engine import BuildRequest, BuildResult
from allotment_recipes.store import padded_root


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder with a short path that every user can reach and write to."""
    with tempfile.TemporaryDirectory(prefix="h-") as name:
        folder = Path(name).resolve()
        folder.chmod(0o777)
        yield folder


@dataclass(frozen=True)
class Yard:
    """Releases that are built from archives made here, into one store."""

    release: Any
    place: Path

    def archive(self, name: str, files: Mapping[str, str]) -> str:
        """Write a source archive; return the lines of a section that pin it."""
        path = self.place / f"{name}.tar"
        with tarfile.open(path, "w") as archive:
            for member, text in files.items():
                info = tarfile.TarInfo(f"{name}-1.0/{member}")
                info.size = len(text.encode())
                info.mode = 0o755 if text.startswith("#!") else 0o644
                archive.addfile(info, io.BytesIO(text.encode()))
        return f"url = {path}\nsha256sum = {hashlib.sha256(path.read_bytes()).hexdigest()}"

    def write(self, sections: Mapping[str, str]) -> None:
        """Write software.cfg with a part of recipe cmmi for each section."""
        text = f"[buildout]\nparts = {' '.join(sections)}\n"
        for name, lines in sections.items():
            text += f"[{name}]\nrecipe = allotment.recipes:cmmi\nversion = 1.0\n{lines}\n"
        self.release.write("software.cfg", text)

    def build(self, sections: Mapping[str, str]) -> BuildResult:
        self.write(sections)
        return self.release.engine.build(self.request(), self.place / "built/build.log")

    def request(self) -> BuildRequest:
        root, sources = self.release.root, self.release.sources
        return BuildRequest(root, "software.cfg", self.place / "built", sources, 60.0, store=self.place / "s")

    @property
    def store(self) -> Path:
        return padded_root(self.place / "s")

    def part(self, name: str) -> Path:
        (path,) = self.store.glob(f"{name}-*")
        return path

    def log(self, name: str) -> str:
        """Return the log of a part that was built, or that failed."""
        (path,) = self.store.glob(f".log/{name}-*")
        return path.read_text()


@pytest.fixture
def yard(release: Any, short_path: Path) -> Yard:
    return Yard(release, short_path)
