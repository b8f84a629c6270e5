# SPDX-License-Identifier: Apache-2.0
"""Recipe ``readline``: the first line of a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from allotment.atomic import read_limited
from allotment.errors import AllotmentError
from allotment.options import OptionProblem
from allotment.secret import Secret
from allotment_recipes.base import GenericBaseRecipe

_LIMIT: Final = 1 << 20  # bytes of the file


@dataclass(frozen=True)
class Options:
    storage_path: Path  # the file
    when_absent: str | None = None  # the line to take as long as there is no such file; default: that is an error
    secret: bool = False  # hide the line as a password is hidden: it is in no log and on no command line


class Recipe(GenericBaseRecipe[Options]):
    """Tell the first line of ``storage-path`` as ``${section:readline}``.

    It is read before anything is installed, so a file that this profile writes is read as the run before left it.
    """

    def prepare(self) -> None:
        self.file = self.path(self.options.storage_path)
        self.publish_option("storage-path", self.file)
        line = self._line()
        is_hidden = self.options.secret and line != ""
        self.publish_option("readline", self.run.tokens.token(Secret(line)) if is_hidden else line)

    def _line(self) -> str:
        try:
            data = read_limited(self.file, _LIMIT)
        except AllotmentError as error:
            raise OptionProblem("storage-path", error.what, error.fix) from error
        if data is None:
            if self.options.when_absent is None:
                problem = f"{self.file} does not exist"
                raise OptionProblem("storage-path", problem, "Correct the path, or write 'when-absent = ...'")
            return self.options.when_absent
        try:
            return data.partition(b"\n")[0].decode().rstrip("\r")
        except UnicodeDecodeError as error:
            problem = f"the first line of {self.file} is not UTF-8 text"
            raise OptionProblem("storage-path", problem, "Name a text file") from error
