# SPDX-License-Identifier: Apache-2.0
"""Recipe ``cron.entry``: a command that the partition's cron runs again and again."""

import re
from dataclasses import dataclass
from pathlib import Path

from allotment.options import OptionProblem, check_one_given
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.crontab import ZONE, ScheduleError, entry, read_schedule
from allotment_recipes.recipes.cron import check_time_zone, require_cronsim
from allotment_recipes.scripts import read_environment, refuse_secrets

_NAME = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_.]*")


@dataclass(frozen=True)
class Options:
    command: str  # one line for /bin/sh
    name: str = ""  # the file's name, and the job's in the log; default: the section's
    frequency: str = ""  # five fields of cron, @daily, a calendar event of systemd, or once-a-day and the like
    time: str = ""  # the same, in place of frequency
    time_zone: str = ""  # default: the one of the cron service
    environment: str = ""  # variables: NAME=value lines, or the section that holds them; a value may be a secret
    cron_entries: Path = Path("etc/cron.d")  # folder of the jobs

    def __post_init__(self) -> None:
        check_one_given(frequency=self.frequency.strip(), time=self.time.strip())


class Recipe(GenericBaseRecipe[Options]):
    """Write a job for the service that the recipe ``cron`` makes.

    ``once-an-hour``, ``once-a-day``, ``once-a-week`` and ``once-a-month`` stand for a time that each instance has for
    itself and keeps. What the command prints, and how it ends, is in the log of cron.
    """

    def prepare(self) -> None:
        require_cronsim(self.name)
        options = self.options
        name = options.name or self.name
        if not _NAME.fullmatch(name):
            raise OptionProblem("name", f"{name!r} is not a job's name", "Use letters, digits, '-', '.', '_'")
        option = "frequency" if options.frequency.strip() else "time"
        owner = self.run.instance.instance if self.run.instance is not None else str(self.folder)
        try:
            self.schedule = read_schedule(options.frequency or options.time, f"{owner} {name}")
        except ScheduleError as error:
            raise OptionProblem(option, str(error), "Write it like 30 2 * * *, or like Mon..Fri 10:00") from error
        if options.time_zone:
            check_time_zone(options.time_zone)
        refuse_secrets(self, "command", options.command)
        self.command = options.command.strip()
        if not self.command or not self.command.isprintable():
            raise OptionProblem("command", "is not one line of text", "Write more than one line to a script")
        self.environment = read_environment(self, options.environment)
        if ZONE in self.environment:
            raise OptionProblem("environment", f"{ZONE} is a time zone", "Write it to time-zone")
        for variable, value in self.environment.items():
            if not self.run.tokens.reveal(value).isprintable():
                raise OptionProblem("environment", f"{variable} is not one line of text", "Put the value into a file")
        self.target = self.path(options.cron_entries) / name
        self.publish_option("schedule", self.schedule.text)

    def install(self) -> list[Path]:
        """Write the job, which nobody else needs to read."""
        text = entry(self.schedule, self.command, self.environment, self.options.time_zone)
        return [self.write(self.target, text, 0o600)]
