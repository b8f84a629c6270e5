# SPDX-License-Identifier: Apache-2.0
"""Recipe ``copyfiles``: copies of files in a folder."""

import os
from dataclasses import dataclass
from pathlib import Path

from allotment.errors import AllotmentError
from allotment.options import Lines, OptionProblem
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.file_lists import read_file_list, refuse_same


@dataclass(frozen=True)
class Options:
    target_directory: Path  # the folder into which the files are copied
    file_list: Lines  # what is copied: a path, or name = path, a line


class Recipe(GenericBaseRecipe[Options]):
    """Copy each file into ``target-directory``, with its permissions; the copies follow it at each run."""

    def prepare(self) -> None:
        self.directory = self.path(self.options.target_directory)
        self.files = read_file_list(self.options.file_list, "file-list")
        for name, path in self.files.items():
            refuse_same("file-list", self.path(path), self.directory / name)
        self.publish_option("target-directory", self.directory)

    def install(self) -> list[Path]:
        """Copy; a file that another section writes in this run is copied as it will be."""
        return [self._copy(self.path(path), self.directory / name) for name, path in self.files.items()]

    def watched(self) -> list[Path]:
        return list(map(self.path, self.files.values()))

    def _copy(self, source: Path, target: Path) -> Path:
        journal = self.run.journal
        if os.path.lexists(source) and not (source.is_file() or source.is_dir()) and source not in journal.paths:
            self.fail(OptionProblem("file-list", f"{source} is neither a file nor a link to one", "Name a file"))
        try:
            data, mode = journal.read(source), journal.mode(source)
        except OSError as error:
            raise AllotmentError(
                f"[{self.name}] file-list: {source} can't be read: {error.strerror}",
                "Correct the path, or let the part that writes it come first, by referring to it",
            ) from error
        return self.write(target, data, mode & 0o777)
