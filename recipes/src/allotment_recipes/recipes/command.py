# SPDX-License-Identifier: Apache-2.0
"""Recipe ``command``: shell commands that are run when a part is installed or updated."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from allotment.errors import AllotmentError
from allotment.options import Lines, OptionProblem
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.hermetic.bench import bench, is_confined, last_words
from allotment_recipes.hermetic.sandbox import Sandbox
from allotment_recipes.scripts import read_environment, refuse_secrets, refuse_whole_folder
from allotment_recipes.shell import run_command


@dataclass(frozen=True)
class Options:
    command: str  # shell commands, run when the section is new or has changed
    update_command: str = ""  # shell commands for each later run
    stop_on_error: bool = True  # the first failing line ends the run; false: go on with the next, and tell the failure
    location: Lines = Lines(())  # files and folders that the command makes, one a line: they go with the part
    environment: str = ""  # NAME=value a line, or the name of a section with these; a value may be a secret


class Recipe(GenericBaseRecipe[Options]):
    """Run shell commands in the folder of the partition or release; what they print is in the run's log.

    The files of the sections before it are there when a command runs, also when the run fails later. A secret in a
    command is refused, because every user of the machine can read that in the process list. In the build of a release
    commands have no network, write only into its folder, and have an environment that is always the same.
    """

    def prepare(self) -> None:
        for option, text in (("command", self.options.command), ("update-command", self.options.update_command)):
            refuse_secrets(self, option, text)
        if not self.options.command.strip():
            raise OptionProblem("command", "is empty", "Write a shell command")
        self.environment = read_environment(self, self.options.environment)
        self.made = [self.path(line) for line in self.options.location]
        for path in self.made:
            refuse_whole_folder(self, "location", path)
        if self.made:
            self.publish_option("location", "\n".join(map(str, self.made)))

    def install(self) -> list[Path]:
        """Run ``command``; what an earlier run of it made is gone then."""
        for path in self.made:
            self.run.journal.release(path)
        self._run("command", self.options.command)
        return self.made

    def update(self) -> list[Path]:
        """Run ``update-command``, if there is one."""
        if self.options.update_command.strip():
            self._run("update-command", self.options.update_command)
        return self.made

    def _run(self, option: str, text: str) -> None:
        self.run.journal.flush()
        if not is_confined(self):
            self._run_in(option, text, os.environ, None)
            return
        with bench(self) as place:
            self._run_in(option, text, place.environment, place.sandbox)

    def _run_in(self, option: str, text: str, environment: Mapping[str, str], sandbox: Sandbox | None) -> None:
        tokens = self.run.tokens
        variables = {name: tokens.reveal(value) for name, value in self.environment.items()}
        words = ["/bin/sh", "-ec" if self.options.stop_on_error else "-c", text]

        def say(line: str) -> None:
            self.logger.info("%s", tokens.scrub(line))

        try:
            ended = run_command(words, self.folder, {**environment, **variables}, say, sandbox)
        except OSError as error:  # such as too many words for one command line
            raise AllotmentError(f"[{self.name}] {option} can't be run: {error.strerror}", "Shorten it") from error
        if ended.code == 0:
            return
        problem = tokens.scrub(ended.problem(f"[{self.name}] {option}"))
        fix = last_words(ended.last, self.folder, "") if sandbox is not None else ""
        if self.options.stop_on_error:
            raise AllotmentError(problem, fix or "Correct it, or write 'stop-on-error = false' if that may be")
        self.logger.warning("%s", f"{problem}\n  {fix}" if fix else problem)
