# SPDX-License-Identifier: Apache-2.0
"""Recipe ``publish``: connection parameters for whoever requested this instance."""

from dataclasses import dataclass
from pathlib import Path

from allotment.errors import AllotmentError
from allotment.options import OptionProblem, rest
from allotment_recipes.base import GenericBaseRecipe, unknown_option


@dataclass(frozen=True)
class Options:
    values: dict[str, str] = rest()  # published under the option's name; "-shared" names the shared instance meant


class Recipe(GenericBaseRecipe[Options]):
    """Publish every option of the section, but those whose name starts with ``-``."""

    def prepare(self) -> None:
        self.shared = ""
        self.values = {}
        for option, text in self.options.values.items():
            if option == "-shared":
                self.shared = text
            elif option.startswith("-"):
                raise unknown_option(option, ("-shared",))
            else:
                self.values[option] = self.run.tokens.restore(text)
        names = [item.name for item in self.run.need_instance(self.name).shared]
        if self.shared and self.shared not in names:
            raise OptionProblem(
                "-shared", f"there is no shared instance '{self.shared}'", "Publish for those that exist"
            )

    def install(self) -> list[Path]:
        """Hand the values over; they leave the partition when the whole run is done."""
        run = self.run
        target = run.published_shared.setdefault(self.shared, {}) if self.shared else run.published
        for key, value in self.values.items():
            if key in target and target[key] != value:
                raise AllotmentError(
                    f"[{self.name}] {key}: another section publishes another value", "Publish each value once"
                )
            target[key] = value
        return []
