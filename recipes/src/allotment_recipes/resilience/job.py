# SPDX-License-Identifier: Apache-2.0
"""The part of a recipe that runs a program again and again, and has a promise look at its status."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allotment.codec import dumps
from allotment.messages.promise import PromiseFile
from allotment.options import OptionProblem
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.crontab import ScheduleError, entry, read_schedule
from allotment_recipes.recipes.cron import check_time_zone, require_cronsim
from allotment_recipes.scripts import program, write_script


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    frequency: str = "once-a-day"  # as cron.entry takes it; a cron service has to run in the partition
    time_zone: str = ""  # of frequency; default: the one of the cron service
    cron_entries: Path = Path("etc/cron.d")  # folder of the jobs
    timeout: float = 21600.0  # seconds after which a command is killed
    max_age: float = 172800.0  # seconds: the promise fails when the last whole copy is older


class Job:
    """``bin/<section>``, its line in ``etc/cron.d`` and its promise."""

    def __init__(self, recipe: GenericBaseRecipe[Any], options: JobOptions) -> None:
        require_cronsim(recipe.name)
        self._recipe, self._options = recipe, options
        owner = recipe.run.instance.instance if recipe.run.instance is not None else str(recipe.folder)
        try:
            self._schedule = read_schedule(options.frequency, f"{owner} {recipe.name}")
        except ScheduleError as error:
            raise OptionProblem("frequency", str(error), "Write it like 30 2 * * *, or like once-a-day") from error
        if options.time_zone:
            check_time_zone(options.time_zone)
        check_seconds(options, "timeout", "max-age")

    def write(self, words: Sequence[str], environment: Mapping[str, str], status: Path) -> list[Path]:
        """Write script, job and promise."""
        recipe, options = self._recipe, self._options
        script = write_script(recipe, f"bin/{recipe.name}", words, environment)
        text = entry(self._schedule, shlex.quote(str(script)), {}, options.time_zone)
        job = recipe.write(recipe.path(options.cron_entries) / recipe.name, text, 0o600)
        return [script, job, write_promise(recipe, status, options.max_age, script)]


def write_promise(recipe: GenericBaseRecipe[Any], status: Path, max_age: float, script: Path) -> Path:
    """Write the promise that fails when the last attempt failed, or the copy is too old.

    There need be none until ``script``, which makes it, is as old as that.
    """
    words = [*program("backup_status"), "--file", str(status), "--max-age", str(max_age), "--since", str(script)]
    command = shlex.join(words)
    promise = PromiseFile("check_command_execute", {"command": command})
    return recipe.write(f"etc/promise/{recipe.name}.json", dumps(promise).decode() + "\n")


def check_seconds(options: object, *names: str) -> None:
    """Raise for an option in seconds that is not above zero."""
    for name in names:
        seconds = getattr(options, name.replace("-", "_"))
        if seconds <= 0:
            raise OptionProblem(name, f"{seconds:g} is not above zero", "Write seconds, like 3600")
