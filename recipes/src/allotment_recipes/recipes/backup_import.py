# SPDX-License-Identifier: Apache-2.0
"""Recipe ``backup.import``: a standby instance takes generations from a backup instance and restores them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from allotment.options import Lines, OptionProblem
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.resilience import takeover
from allotment_recipes.resilience.job import check_seconds, write_promise
from allotment_recipes.resilience.program import STATUS
from allotment_recipes.resilience.server import Server, ServerOptions
from allotment_recipes.scripts import program, read_environment, refuse_secrets


@dataclass(frozen=True, kw_only=True)
class Options(ServerOptions):
    commands: Lines  # for /bin/sh, one a line: they restore from the folder that they are started in
    checks: Lines = Lines(())  # for /bin/sh, one a line: they fail when what was restored is not right
    environment: str = ""  # variables of both: NAME=value lines, or the section that holds them
    folder: Path | None = None  # of what was received, which stays when the section goes; default: srv/ and its name
    takeover_file: Path = takeover.DEFAULT  # when it is there, nothing is taken any more
    timeout: float = 21600.0  # seconds after which a command is killed
    max_age: float = 259200.0  # seconds: the promise fails when what was restored is older, until the takeover


class Recipe(GenericBaseRecipe[Options]):
    """Let ``backup.push`` bring generations. Others read ``host``, ``port``, ``user``, ``host-key``, ``folder``.

    The commands run when each byte has the checksum that was made with the export; they have to be such that they
    can run again: a restore that was cut is repeated. Who has one of the ``authorized-keys`` can bring a generation,
    have it restored and read the status, and do nothing else.
    """

    def prepare(self) -> None:
        options = self.options
        if not options.commands:
            raise OptionProblem("commands", "is empty", "Write commands that read files, such as: psql -f db.sql")
        for option in ("commands", "checks"):
            for command in getattr(options, option):
                refuse_secrets(self, option, command)
        check_seconds(options, "timeout", "max-age")
        self.environment = read_environment(self, options.environment)
        self.server = Server(self, options)
        self.received = self.path(options.folder or f"srv/{self.name}")
        self.takeover = self.path(options.takeover_file)
        self.publish_option("folder", self.received)
        self.publish_option("status-file", self.received / STATUS)
        self.publish_option("takeover-file", self.takeover)
        # As an option, so that this section is another one after a takeover: its promise goes then.
        self.is_taken_over = takeover.read(self.takeover) is not None
        self.publish_option("is-taken-over", "true" if self.is_taken_over else "false")

    @classmethod
    def kept(cls, options: Mapping[str, str]) -> list[str]:
        return [options["folder"]]

    def install(self) -> list[Path]:
        """Write the server and the promise; who has taken over needs no fresh copies."""
        options = self.options
        words = [*program("backup_receive"), "--folder", str(self.received)]
        words += ["--takeover", str(self.takeover), "--timeout", str(options.timeout)]
        for option, commands in (("--command", options.commands), ("--check", options.checks)):
            for command in commands:
                words += [option, command]
        served = self.server.write(words, self.environment)
        if self.is_taken_over:
            return served
        return [*served, write_promise(self, self.received / STATUS, options.max_age, served[0])]
