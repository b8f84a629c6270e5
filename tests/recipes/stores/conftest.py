# SPDX-License-Identifier: Apache-2.0
"""A store of small parts, made as builds make them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from allotment_recipes.shared_store import Store
from allotment_recipes.store import padded_root
from allotment_recipes.stores import roots


@dataclass(frozen=True)
class Yard:
    """A store, and folders of releases beside it."""

    place: Path
    store: str = "store"

    @property
    def root(self) -> Path:
        return padded_root(self.place / self.store)

    def part(self, name: str, *references: Path, note: bool = True, declared: Sequence[str] = ()) -> Path:
        """Build a part that names others in its only text."""
        location = self.root / f"{name}-1-{name.encode().hex():0>32}"
        store = Store(self.root)
        with store.building(location, "a test", lambda line: None) as place:
            assert place is not None
            (location / "bin").mkdir()
            (location / "bin/run").write_text("#!/bin/sh\n" + "".join(f"exec {path}/bin/run\n" for path in references))
            (location / "bin/run").chmod(0o755)
            (location / "bin/again").symlink_to("run")
            if note:
                fields = {"part": name, "version": "1", "seconds": 0.1, "bytes": 10}
                store.note(location, {**fields, "references": list(declared)})
        return location

    def release(self, name: str, *parts: Path) -> Path:
        """Register a release as its build does."""
        folder = self.place / "releases" / name
        folder.mkdir(parents=True, exist_ok=True)
        roots.enter(self.root, folder, [part.name for part in parts], adds=False)
        return folder

    @property
    def names(self) -> list[str]:
        """The parts that are there, by the names they were made with."""
        return sorted(path.name.partition("-")[0] for path in self.root.glob("[!.]*"))


@pytest.fixture
def yard(short_path: Path) -> Yard:
    return Yard(short_path)
