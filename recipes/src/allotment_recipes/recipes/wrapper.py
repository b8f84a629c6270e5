# SPDX-License-Identifier: Apache-2.0
"""Recipe ``wrapper``: a script that starts a program, for ``etc/service``, ``etc/run`` or ``bin``."""

import hashlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from allotment.errors import AllotmentError
from allotment.options import Lines, OptionProblem
from allotment_recipes.base import GenericBaseRecipe

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Options:
    command_line: str  # the program and its arguments, quoted as in a shell; nothing is expanded
    wrapper_path: Path  # the script that is written
    environment: Lines = Lines(())  # one NAME=value a line; a value may be a secret
    wait_for_files: Lines = Lines(())  # start only when these files exist, one a line
    hash_files: Lines = Lines(())  # files whose content is part of the script, so that a change restarts the service


class Recipe(GenericBaseRecipe[Options]):
    """Write a script that replaces itself by ``command-line``, passing its own arguments on.

    A secret on the command line is refused, because every user of the machine can read that in the process list.
    """

    def prepare(self) -> None:
        if self.run.tokens.found_in(self.options.command_line):
            raise OptionProblem("command-line", "holds a secret", "Pass it in 'environment' or in a private file")
        try:
            self.command = shlex.split(self.options.command_line)
        except ValueError as error:
            raise OptionProblem("command-line", f"can't be split into words: {error}", "Close the quotes") from error
        if not self.command:
            raise OptionProblem("command-line", "is empty", "Write a program and its arguments")
        self.environment = [self._variable(line) for line in self.options.environment]
        self.publish_option("wrapper-path", self.path(self.options.wrapper_path))

    def install(self) -> list[Path]:
        """Write the script, executable by its owner only."""
        return [self.write(self.options.wrapper_path, self._script(), 0o700)]

    def _script(self) -> str:
        lines = ["#!/bin/sh -e"]
        lines += [f"# {self._hash(self.path(name))}  {name}" for name in self.options.hash_files]
        lines += [f"export {name}={shlex.quote(self.run.tokens.reveal(value))}" for name, value in self.environment]
        for name in self.options.wait_for_files:
            lines.append(f"until [ -e {shlex.quote(str(self.path(name)))} ]; do sleep 1; done")
        lines.append(f'exec {shlex.join(self.command)} "$@"')
        return "\n".join(lines) + "\n"

    def _hash(self, path: Path) -> str:
        try:
            return hashlib.sha256(self.run.journal.read(path)).hexdigest()
        except OSError as error:
            raise AllotmentError(
                f"[{self.name}] hash-files: {path} can't be read: {error.strerror}",
                "Let the part that writes it come first, by referring to it",
            ) from error

    def _variable(self, line: str) -> tuple[str, str]:
        name, equals, value = line.partition("=")
        if not equals or not _VARIABLE.fullmatch(name.strip()):
            raise OptionProblem("environment", f"{name.strip()!r} is not NAME=value", "Write it like LANG=C.UTF-8")
        return name.strip(), value.strip()
