# SPDX-License-Identifier: Apache-2.0
"""Recipe ``logrotate``: lets cron rotate the partition's logs."""

import glob
import shlex
from dataclasses import dataclass
from pathlib import Path

from allotment.options import Lines, OptionProblem
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.crontab import ScheduleError, entry, read_schedule
from allotment_recipes.programs.logrotate import Entry
from allotment_recipes.recipes.cron import require_cronsim
from allotment_recipes.scripts import program


@dataclass(frozen=True)
class Options:
    logrotate_entries: Path = Path("etc/logrotate.d")  # folder of what is rotated
    cron_entries: Path = Path("etc/cron.d")  # folder of cron's jobs
    cron_log: Path = Path("var/log/cron.log")  # the log of cron itself, rotated each week
    frequency: str = "once-an-hour"  # when to look which logs are due, as in cron.entry
    state_file: Path = Path("var/logrotate/state.json")  # what was rotated when


class Recipe(GenericBaseRecipe[Options]):
    """Rotate what ``logrotate.entry`` sections name; the service that the recipe ``cron`` makes does it."""

    def prepare(self) -> None:
        require_cronsim(self.name)
        owner = self.run.instance.instance if self.run.instance is not None else str(self.folder)
        try:
            self.schedule = read_schedule(self.options.frequency, f"{owner} logrotate")
        except ScheduleError as error:
            raise OptionProblem("frequency", str(error), "Write it like once-an-hour") from error
        self.entries = self.path(self.options.logrotate_entries)
        self.publish_option("logrotate-entries", self.entries)

    def install(self) -> list[Path]:
        """Write the job, and the entry of cron's own log."""
        state = self.path(self.options.state_file)
        command = (*program("logrotate"), "--entries", str(self.entries), "--state", str(state))
        job = entry(self.schedule, shlex.join(command), {}, "")
        own = Entry(Lines((glob.escape(str(self.path(self.options.cron_log))),)), "weekly", 4, True, False, False)
        return [
            self.write(self.path(self.options.cron_entries) / "logrotate", job, 0o600),
            self.write(self.entries / "cron.json", own.text()),
        ]
