# SPDX-License-Identifier: Apache-2.0
"""Recipe ``backup.push``: the backup instance brings its newest generation to the standby instance."""

from dataclasses import dataclass
from pathlib import Path

from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.resilience.client import Client, ClientOptions
from allotment_recipes.resilience.job import Job, JobOptions
from allotment_recipes.resilience.program import STATUS
from allotment_recipes.scripts import program


@dataclass(frozen=True, kw_only=True)
class Options(ClientOptions, JobOptions):
    generations: Path  # folder of a section with backup.pull, ${pull:folder}
    folder: Path | None = None  # of the status; default: var/ and the section's name


class Recipe(GenericBaseRecipe[Options]):
    """Push again and again to an instance that has a section with ``backup.import``.

    ``bin/<section>`` pushes now. When the standby has restored the newest generation, nothing is done; one that it did
    not bring to an end is pushed and restored again.
    """

    def prepare(self) -> None:
        self.client = Client(self, self.options)
        self.job = Job(self, self.options)
        self.status = self.path(self.options.folder or f"var/{self.name}") / STATUS
        self.publish_option("status-file", self.status)

    def install(self) -> list[Path]:
        """Write the script, its job, its promise, and the way to the other side."""
        options = self.options
        words = [*program("backup_push"), "--generations", str(self.path(options.generations))]
        words += ["--status", str(self.status), "--ssh", str(self.client.script), "--rsync", str(options.rsync_binary)]
        words += ["--timeout", str(options.timeout)]
        return [*self.job.write(words, {}, self.status), *self.client.write()]
