# SPDX-License-Identifier: Apache-2.0
"""Recipe ``editable``: values with defaults, which people may edit in the partition."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from allotment.options import check_one_given, rest
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.editable_values import parse, read_text, with_defaults


@dataclass(frozen=True)
class Options:
    file_path: Path | None = None  # the file, which stays when the section goes
    filename: Path | None = None  # SlapOS's name of it, from the partition's folder
    values: dict[str, str] = rest()  # each other option is a value, and what it is as long as nobody changes it

    def __post_init__(self) -> None:
        check_one_given(file_path=self.file_path, filename=self.filename)


class Recipe(GenericBaseRecipe[Options]):
    """Keep the section's values in a file; others read ``${section:option}`` as the file has it.

    What is in the file stays, whatever the profile says later; only values that it lacks are added. It has a section of
    this one's name. Secrets don't belong there: the file is one to be read.
    """

    def prepare(self) -> None:
        options = self.options
        option = "file-path" if options.file_path is not None else "filename"
        self.file = self.path(options.file_path or options.filename or Path())
        text = read_text(self.file, option)
        found = parse(text, self.file, option).get(self.name, {})
        missing = {name: value for name, value in options.values.items() if name not in found}
        self.text = with_defaults(text, self.name, missing)
        self.publish_option(option, self.file)
        for name, value in parse(self.text, self.file, option).get(self.name, {}).items():
            if name in options.values:
                self.publish_option(name, value)

    @classmethod
    def kept(cls, options: Mapping[str, str]) -> list[str]:
        return [options.get("file-path") or options["filename"]]

    def install(self) -> list[Path]:
        """Write what the file lacks."""
        self.write(self.file, self.text, 0o600)
        return []
