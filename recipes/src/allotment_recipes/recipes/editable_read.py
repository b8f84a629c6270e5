# SPDX-License-Identifier: Apache-2.0
"""Recipe ``editable.read``: the values of a file that people edit in the partition."""

from dataclasses import dataclass
from pathlib import Path

from allotment.options import check_one_given, rest
from allotment_recipes.base import FRAMEWORK, GenericBaseRecipe
from allotment_recipes.editable_values import parse, read_text


@dataclass(frozen=True)
class Options:
    file_path: Path | None = None  # the file
    filename: Path | None = None  # SlapOS's name of it, from the partition's folder
    values: dict[str, str] = rest()  # each other option is what is told as long as the file does not say it

    def __post_init__(self) -> None:
        check_one_given(file_path=self.file_path, filename=self.filename)


class Recipe(GenericBaseRecipe[Options]):
    """Tell every value of every section of the file as ``${section:option}``.

    The file is read before anything is installed. It may not be there yet: then the section's own options stand.
    """

    def prepare(self) -> None:
        options = self.options
        option = "file-path" if options.file_path is not None else "filename"
        file = self.path(options.file_path or options.filename or Path())
        own = {*FRAMEWORK, "file-path", "filename"}
        for values in parse(read_text(file, option), file, option).values():
            for name, value in values.items():
                if name not in own and not name.startswith("_"):
                    self.publish_option(name, value)
        self.publish_option(option, file)
