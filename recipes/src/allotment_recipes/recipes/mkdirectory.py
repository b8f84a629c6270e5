# SPDX-License-Identifier: Apache-2.0
"""Recipe ``mkdirectory``: folders."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from allotment.errors import AllotmentError
from allotment.options import Mode, OptionProblem, rest
from allotment_recipes.base import GenericBaseRecipe


@dataclass(frozen=True)
class Options:
    mode: Mode = Mode(0o755)  # permissions of the folders that are made
    folders: dict[str, str] = rest()  # each other option is a folder; others refer to it as ${section:option}


class Recipe(GenericBaseRecipe[Options]):
    """Make the folders. They hold data, so they are never removed."""

    def prepare(self) -> None:
        self.folders = {}
        for option, text in self.options.folders.items():
            if not text.strip() or "\0" in text:
                problem = "holds a NUL character" if text.strip() else "is empty"
                raise OptionProblem(option, problem, "Write a path")
            self.folders[option] = self.path(text.strip().rstrip("/"))
            self.publish_option(option, self.folders[option])

    @classmethod
    def kept(cls, options: Mapping[str, str]) -> list[str]:
        return [path for name, path in options.items() if name not in ("recipe", "mode") and not name.startswith("_")]

    def install(self) -> list[Path]:
        """Make what is missing, at once: a folder without files does no harm to a run that fails."""
        for option, folder in self.folders.items():
            try:
                if not folder.is_dir():
                    folder.mkdir(self.options.mode, parents=True)  # never open to more, not even for a moment
                    folder.chmod(self.options.mode)  # whatever the umask is
            except OSError as error:
                raise AllotmentError(
                    f"[{self.name}] {option}: {folder} can't be made: {error.strerror}", "Check the path and its owner"
                ) from error
        return []
