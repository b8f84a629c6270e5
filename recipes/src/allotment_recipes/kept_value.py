# SPDX-License-Identifier: Apache-2.0
"""The base of recipes that choose a value once and keep it in a file of the partition."""

import abc
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, TypeVar

from allotment.atomic import read_limited
from allotment.options import OptionProblem
from allotment_recipes.base import GenericBaseRecipe

LIMIT: Final = 4096  # bytes of the file


@dataclass(frozen=True, kw_only=True)
class KeptOptions:
    storage_path: Path | None = None  # file that keeps the value, and stays; default: one that goes with the section


K = TypeVar("K", bound=KeptOptions)


class KeptValue(GenericBaseRecipe[K], abc.ABC):
    """Subclass it with ``make`` and ``problem``; ``result`` names the option that others read, or that is given."""

    result: ClassVar[str] = "value"
    suffix: ClassVar[str] = ""  # of the file's default name, where sections look at one another's

    def prepare(self) -> None:
        parts = self.path(self.buildout["buildout"].get("parts-directory", "parts"))
        self.file = self.path(self.options.storage_path or parts / f"{self.name}{self.suffix}")
        self.value = self._given() or self._kept() or self.make()
        self.publish_option(self.result, self.value)

    @abc.abstractmethod
    def make(self) -> str:
        """Return a new value."""

    @abc.abstractmethod
    def problem(self, value: str) -> str:
        """Say what is wrong with a value that is given or was kept; nothing when it can be used."""

    def text(self) -> str:
        """Return what the file holds."""
        return self.value

    def value_in(self, text: str) -> str:
        """Return the value in a file's text, or nothing when it can't be used."""
        return text if text and not self.problem(text) else ""

    def install(self) -> list[Path]:
        """Keep the value."""
        path = self.write(self.file, f"{self.text()}\n")
        return [path] if self.options.storage_path is None else []

    def _given(self) -> str:
        given = str(getattr(self.options, self.result.replace("-", "_")) or "")
        if given and (problem := self.problem(given)):
            raise OptionProblem(self.result, problem, "Correct it, or leave it out")
        return given

    def _kept(self) -> str:
        """Return the value of an earlier run, unless it can't be used any more."""
        data = read_limited(self.file, LIMIT)
        return self.value_in(data.decode(errors="replace").strip()) if data is not None else ""
