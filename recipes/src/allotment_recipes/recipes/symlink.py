# SPDX-License-Identifier: Apache-2.0
"""Recipe ``symlink``: symbolic links in a folder."""

import os
from dataclasses import dataclass
from pathlib import Path

from allotment.options import Lines, OptionProblem
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.file_lists import read_file_list, refuse_same


@dataclass(frozen=True)
class Options:
    target_directory: Path  # the folder in which the links are made
    link_binary: Lines  # what they lead to: a path, or name = path, a line


class Recipe(GenericBaseRecipe[Options]):
    """Make a link in ``target-directory`` to each path; links that are listed no longer are removed.

    What a link leads to may come later, such as a file that a service writes; the log tells what is missing now. A file
    or folder in the link's place that no section has made is an error.
    """

    def prepare(self) -> None:
        self.directory = self.path(self.options.target_directory)
        self.targets = read_file_list(self.options.link_binary, "link-binary")
        for name, path in self.targets.items():
            refuse_same("link-binary", self.path(path), self.directory / name)
        self.publish_option("target-directory", self.directory)

    def install(self) -> list[Path]:
        """Make the links; a file or folder that this run does not remove is not replaced."""
        links = []
        for name, path in self.targets.items():
            target = self.path(path)
            if not self._is_there(target):
                self.logger.warning("%s leads to %s, which does not exist yet", self.directory / name, target)
            self._refuse_replacing(self.directory / name)
            links.append(self.link(self.directory / name, target))
        return links

    def _refuse_replacing(self, link: Path) -> None:
        if os.path.lexists(link) and not link.is_symlink() and not self.run.journal.is_leaving(link):
            self.fail(OptionProblem("link-binary", f"{link} is there already and no link", "Move it away"))

    def _is_there(self, target: Path) -> bool:
        written = self.run.journal.paths
        is_there = os.path.exists(target)  # noqa: PTH110 (Path raises when the path is too long)
        return is_there or target in written or any(target in path.parents for path in written)
