# SPDX-License-Identifier: Apache-2.0
"""Recipe ``python.eggs``: what ``python.scripts`` makes, with links to the scripts in one folder of the release."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from allotment_recipes.recipes import python_scripts


@dataclass(frozen=True)
class Options(python_scripts.Options):
    bin_directory: Path | None = None  # folder of the links; default: buildout's own


class Recipe(python_scripts.Recipe):
    """Install pinned wheels as ``python.scripts`` does, and link to the scripts where SlapOS's profiles expect them."""

    options_class = Options

    def prepare(self) -> None:
        super().prepare()
        given = cast(Options, self.options).bin_directory
        self.links = self.path(given or self.buildout["buildout"].get("bin-directory", "bin"))

    def install(self) -> list[Path]:
        """Make the links anew: a script may have come or gone."""
        paths = super().install()
        scripts = sorted((self.location / "bin").iterdir())
        return [*paths, *(self.link(self.links / script.name, script) for script in scripts)]
