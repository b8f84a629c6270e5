# SPDX-License-Identifier: Apache-2.0
"""Recipe ``mariadb.update``: brings the tables of MariaDB to the version of its programs, and runs first statements."""

import hashlib
import shlex
from dataclasses import dataclass
from pathlib import Path

from allotment.errors import AllotmentError
from allotment.options import Arguments, OptionProblem
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.scripts import refuse_secrets


@dataclass(frozen=True)
class Options:
    binary: Arguments  # the program mariadb-upgrade (mysql_upgrade), with what it needs to reach the server
    mysql: Arguments  # the client mariadb (mysql), with the same
    output: Path  # the script that is written, most often in etc/run
    init_script: Path | None = None  # SQL that is run after each upgrade; it may be run many times
    tries: int = 600  # how often it is tried, as the server may just be starting
    interval: float = 1.0  # seconds between two tries


class Recipe(GenericBaseRecipe[Options]):
    """Write a script that upgrades and runs ``init-script`` until both have succeeded, and says what they said.

    A change of ``init-script`` changes the script, so that it is run again.
    """

    def prepare(self) -> None:
        options = self.options
        for option in ("binary", "mysql"):
            refuse_secrets(self, option, " ".join(getattr(options, option)))
        if options.tries < 1:
            raise OptionProblem("tries", f"{options.tries} is not above zero", "Write it like 600")
        if options.interval < 0:
            raise OptionProblem("interval", f"{options.interval:g} is below zero", "Write seconds, like 1")
        self.publish_option("output", self.path(options.output))

    def install(self) -> list[Path]:
        """Write the script, executable by its owner only."""
        return [self.write(self.options.output, self._script(), 0o700)]

    def _script(self) -> str:
        options = self.options
        steps = shlex.join(options.binary)
        note = ""
        if options.init_script is not None:
            path = self.path(options.init_script)
            steps += f" && {shlex.join(options.mysql)} < {shlex.quote(str(path))}"
            note = f"# {self._digest(path)}  {path}\n"
        return f"""\
#!/bin/sh
{note}left={options.tries}
until {steps}; do
  left=$((left - 1))
  if [ $left -eq 0 ]; then
    echo "gave up after {options.tries} tries" >&2
    exit 1
  fi
  sleep {options.interval:g}
done
"""

    def _digest(self, path: Path) -> str:
        try:
            return hashlib.sha256(self.run.journal.read(path)).hexdigest()
        except OSError as error:
            raise AllotmentError(
                f"[{self.name}] init-script: {path} can't be read: {error.strerror}",
                "Let the part that writes it come first, by referring to it",
            ) from error
