# SPDX-License-Identifier: Apache-2.0
"""A buildout that upstream's own command runs: what a recipe does for those who do not have our driver."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from allotment_recipes.testing.place import Place


@dataclass
class Upstream(Place):
    """A folder with a ``buildout.cfg``. Recipes are those that are installed beside pytest; nothing is fetched."""

    folder: Path
    told = ()  # upstream rewrites .installed.cfg at each run

    def run(self, profile: str | None = None, timeout: float = 60.0) -> "subprocess.CompletedProcess[str]":
        """Run ``buildout``; what it says is in ``stdout``, errors too."""
        if profile is not None:
            self.write_profile(profile)
        return self._buildout(self.profile, timeout)

    @property
    def profile(self) -> Path:
        return self.folder / "buildout.cfg"

    def _run(self, profile: Path) -> str:
        done = self._buildout(profile, 60.0)
        return done.stdout if done.returncode else ""

    def _buildout(self, profile: Path, timeout: float) -> "subprocess.CompletedProcess[str]":
        code = "import sys; from zc.buildout.buildout import main; sys.exit(main())"
        return subprocess.run(
            [sys.executable, "-c", code, "-N", "-o", "-U", "-c", profile.name],
            cwd=self.folder,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},  # its own, of setuptools
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
