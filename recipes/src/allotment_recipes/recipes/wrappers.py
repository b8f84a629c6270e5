# SPDX-License-Identifier: Apache-2.0
"""Recipe ``wrappers``: the scripts of what consists of several programs, in one section."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from allotment.options import Lines, OptionProblem
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.scripts import read_environment, refuse_lines_of_values, refuse_secrets, write_script


@dataclass(frozen=True)
class Options:
    commands: Lines  # script = program and arguments, quoted as in a shell, one a line; nothing is expanded
    environment: str = ""  # of all of them: NAME=value a line, or the name of a section with these


class Recipe(GenericBaseRecipe[Options]):
    """Write scripts that replace themselves by a program each, passing their own arguments on.

    What only one script needs, such as a wait for files, is an option of the recipe ``wrapper``.
    """

    def prepare(self) -> None:
        commands = str(self.raw["commands"])
        refuse_secrets(self, "commands", commands)
        refuse_lines_of_values(self, "commands", commands, "It would be a script of its own: give it by 'environment'")
        self.environment = read_environment(self, self.options.environment)
        self.scripts: dict[Path, list[str]] = {}
        for line in self.options.commands:
            name, words = _read(line)
            path = self.path(name)
            if path in self.scripts:
                raise OptionProblem("commands", f"{name} is there twice", "Give each program a script of its own")
            self.scripts[path] = words
        if not self.scripts:
            raise OptionProblem("commands", "is empty", "Write lines like: etc/service/shop = bin/shop --port 8080")

    def install(self) -> list[Path]:
        """Write the scripts, executable by their owner only."""
        return [write_script(self, path, words, self.environment) for path, words in self.scripts.items()]


def _read(line: str) -> tuple[str, list[str]]:
    name, _, command = line.partition("=")
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise OptionProblem("commands", f"{error} in {line!r}", "Close the quotation") from None
    if not name.strip() or not words or not words[0]:
        problem = f"{line!r} is not a script and its program"
        raise OptionProblem("commands", problem, "Write it like: etc/service/shop = bin/shop --port 8080")
    return name.strip(), words
