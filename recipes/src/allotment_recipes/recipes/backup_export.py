# SPDX-License-Identifier: Apache-2.0
"""Recipe ``backup.export``: whole copies of an instance's data, and an SSH server that gives the last one away."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from allotment.options import Lines, OptionProblem
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.resilience.job import Job, JobOptions
from allotment_recipes.resilience.program import STATUS
from allotment_recipes.resilience.server import Server, ServerOptions
from allotment_recipes.scripts import program, read_environment, refuse_secrets


@dataclass(frozen=True, kw_only=True)
class Options(ServerOptions, JobOptions):
    commands: Lines  # for /bin/sh, one a line: they write into the folder that they are started in
    environment: str = ""  # variables of the commands: NAME=value lines, or the section that holds them
    folder: Path | None = None  # of the copies, which stay when the section goes; default: srv/ and the section's name
    keep: int = 2  # copies that are kept; one that is being read stays until the next export


class Recipe(GenericBaseRecipe[Options]):
    """Export again and again, and let backups fetch. Others read ``host``, ``port``, ``user`` and ``host-key``.

    ``bin/<section>`` exports now. A copy counts when all commands have succeeded and all checksums are there: whatever
    happens before leaves the last one as it was. Who has one of the ``authorized-keys`` can read the last copy and the
    status, and do nothing else.
    """

    def prepare(self) -> None:
        options = self.options
        if not options.commands:
            raise OptionProblem("commands", "is empty", "Write commands that write files, such as: pg_dump -f db.sql")
        for command in options.commands:
            refuse_secrets(self, "commands", command)
        if options.keep < 1:
            raise OptionProblem("keep", f"{options.keep} is not above zero", "Write it like 2")
        self.environment = read_environment(self, options.environment)
        self.job = Job(self, options)
        self.server = Server(self, options)
        self.copies = self.path(options.folder or f"srv/{self.name}")
        self.publish_option("folder", self.copies)
        self.publish_option("status-file", self.copies / STATUS)

    @classmethod
    def kept(cls, options: Mapping[str, str]) -> list[str]:
        return [options["folder"]]

    def install(self) -> list[Path]:
        """Write the script, its job, its promise, and the server."""
        options = self.options
        words = [*program("backup_export"), "--folder", str(self.copies), "--keep", str(options.keep)]
        words += ["--timeout", str(options.timeout)]
        for command in options.commands:
            words += ["--command", command]
        serve = [*program("backup_send"), "--folder", str(self.copies)]
        return [*self.job.write(words, self.environment, self.copies / STATUS), *self.server.write(serve)]
