# SPDX-License-Identifier: Apache-2.0
"""Recipe ``sample-plugin:greeting``: a file that greets somebody."""

from dataclasses import dataclass
from pathlib import Path

from allotment_recipes import GenericBaseRecipe


@dataclass(frozen=True)
class Options:
    to: str  # who is greeted
    output: Path  # the file that is written
    loud: bool = False  # in capital letters


class Recipe(GenericBaseRecipe[Options]):
    """Write a greeting to ``output``; others read it as ``${section:text}``."""

    def prepare(self) -> None:
        text = f"Hello {self.options.to}!"
        self.text = text.upper() if self.options.loud else text
        self.publish_option("text", self.text)

    def install(self) -> list[Path]:
        """Write the file."""
        return [self.write(self.options.output, f"{self.text}\n")]
