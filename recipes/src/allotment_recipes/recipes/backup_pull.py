# SPDX-License-Identifier: Apache-2.0
"""Recipe ``backup.pull``: the backup instance fetches what another one exports, and keeps generations of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from allotment.options import Lines, OptionProblem
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.resilience import retention
from allotment_recipes.resilience.client import Client, ClientOptions
from allotment_recipes.resilience.job import Job, JobOptions
from allotment_recipes.resilience.program import STATUS
from allotment_recipes.scripts import program, refuse_secrets


@dataclass(frozen=True, kw_only=True)
class Options(ClientOptions, JobOptions):
    retention: str = "14 daily"  # what is kept: 14 (newest), 14 daily, 8 weekly, 12 monthly, 2W (age); commas part them
    folder: Path | None = None  # of the generations, which stay when the section goes; default: srv/ and its name
    after: Lines = Lines(())  # commands for /bin/sh after each pull, one a line, such as one that notifies a queue


class Recipe(GenericBaseRecipe[Options]):
    """Pull again and again. Others read ``${section:folder}`` and ``${section:status-file}``.

    ``bin/<section>`` pulls now. A generation has its name when every byte has the checksum that was made with the
    export; unchanged files are shared between generations by hard links. The newest is always kept. The promise fails
    when a pull fails, and when the last export is older than ``max-age``.
    """

    def prepare(self) -> None:
        options = self.options
        try:
            retention.parse(options.retention)
        except ValueError as error:
            raise OptionProblem("retention", str(error), "Write it like 14 daily, 8 weekly, or like 2W") from error
        for command in options.after:
            refuse_secrets(self, "after", command)
        self.client = Client(self, options)
        self.job = Job(self, options)
        self.generations = self.path(options.folder or f"srv/{self.name}")
        self.publish_option("folder", self.generations)
        self.publish_option("status-file", self.generations / STATUS)

    @classmethod
    def kept(cls, options: Mapping[str, str]) -> list[str]:
        return [options["folder"]]

    def install(self) -> list[Path]:
        """Write the script, its job, its promise, and the way to the other side."""
        options = self.options
        words = [*program("backup_pull"), "--folder", str(self.generations), "--ssh", str(self.client.script)]
        words += ["--rsync", str(options.rsync_binary), "--retention", options.retention]
        words += ["--timeout", str(options.timeout)]
        for command in options.after:
            words += ["--after", command]
        return [*self.job.write(words, {}, self.generations / STATUS), *self.client.write()]
