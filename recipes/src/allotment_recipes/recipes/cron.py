# SPDX-License-Identifier: Apache-2.0
"""Recipe ``cron``: the service that runs a partition's jobs."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from allotment.errors import AllotmentError
from allotment.options import OptionProblem
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.calendar_event import CalendarError, check_zone
from allotment_recipes.scripts import program, read_environment, write_script


@dataclass(frozen=True)
class Options:
    cron_entries: Path = Path("etc/cron.d")  # folder of the jobs
    log: Path = Path("var/log/cron.log")  # what the jobs print, and what is said of them
    cronstamps: Path = Path("var/cron")  # folder in which it notes how far it has come
    time_zone: str = "UTC"  # of jobs that name none
    environment: str = ""  # variables of all jobs: NAME=value lines, or the section that holds them
    wrapper_path: Path = Path("etc/service/cron")  # the service


class Recipe(GenericBaseRecipe[Options]):
    """Run what stands in ``cron-entries``, most easily written with ``cron.entry``, and keep a log of it."""

    def prepare(self) -> None:
        require_cronsim(self.name)
        check_time_zone(self.options.time_zone)
        self.environment = read_environment(self, self.options.environment)
        self.publish_option("cron-entries", self.path(self.options.cron_entries))
        self.publish_option("cronstamps", self.path(self.options.cronstamps))
        self.publish_option("log", self.path(self.options.log))
        self.publish_option("wrapper-path", self.path(self.options.wrapper_path))

    def install(self) -> list[Path]:
        """Write the service."""
        options = self.options
        command = (
            *program("cron"),
            "--entries",
            str(self.path(options.cron_entries)),
            "--log",
            str(self.path(options.log)),
            "--state",
            str(self.path(options.cronstamps) / "state.json"),
            "--zone",
            options.time_zone,
        )
        return [write_script(self, options.wrapper_path, command, self.environment)]


def require_cronsim(section: str) -> None:
    """Raise where the library that knows cron's syntax is missing."""
    if importlib.util.find_spec("cronsim") is None:
        raise AllotmentError(
            f"[{section}] needs the Python package cronsim, which is not installed",
            "Install it where buildout runs: pip install 'cronsim>=2.7'",
        )


def check_time_zone(name: str) -> None:
    """Raise for an option ``time-zone`` that names none."""
    try:
        check_zone(name)
    except CalendarError as error:
        raise OptionProblem("time-zone", str(error), "Write a name of the IANA's list") from error
