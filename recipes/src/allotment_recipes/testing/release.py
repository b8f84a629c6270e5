# SPDX-License-Identifier: Apache-2.0
"""A software release in the making."""

import textwrap
from dataclasses import dataclass
from pathlib import Path

from allotment_recipes.engine import BuildEngine, BuildRequest, BuildResult
from allotment_recipes.testing.place import Place


@dataclass
class Release(Place):
    """A release in the making: profiles in ``root``, built into ``folder``; ``sources`` is its source cache."""

    root: Path
    folder: Path
    sources: Path
    engine: BuildEngine

    def write(self, name: str, text: str) -> Path:
        """Write a file beside the profile, which may be indented as a test is."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def build(self, profile: str | None = None, timeout: float = 60.0) -> BuildResult:
        """Run the driver over ``software.cfg`` as it stands, without making a closure."""
        if profile is not None:
            self.write_profile(profile)
        return self._build(self.profile, timeout)

    @property
    def profile(self) -> Path:
        return self.root / "software.cfg"

    @property
    def log(self) -> Path:
        """What the builds and their programs said."""
        return self.folder.with_name(f"{self.folder.name}.log")

    def _run(self, profile: Path) -> str:
        return self._build(profile, 60.0).error

    def _build(self, profile: Path, timeout: float) -> BuildResult:
        request = BuildRequest(self.root, profile.name, self.folder, self.sources, timeout)
        return self.engine.build(request, self.log)
