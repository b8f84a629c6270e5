# SPDX-License-Identifier: Apache-2.0
"""What stands in ``etc/cron.d``: when to run which command. The recipes write it, the cron program reads it.

A file holds lines of a user's crontab: ``NAME=value`` for the lines below it (``CRON_TZ`` is their time zone), five
fields and a command, ``@daily`` and the like and a command, or ``@calendar "Mon..Fri 10:00"`` and a command. Unlike in
other crontabs ``%`` has no meaning of its own.
"""

import datetime
import hashlib
import re
import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from allotment_recipes.calendar_event import CalendarError, check_zone, parse

_WORDS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_ONCE: Final = {
    "once-an-hour": "{minute} * * * *",
    "once-a-day": "{minute} {hour} * * *",
    "once-a-week": "{minute} {hour} * * {weekday}",
    "once-a-month": "{minute} {hour} {day} * *",
}  # at a time of its own for each instance, so that a fleet does not begin at once
_ASSIGNMENT: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_CALENDAR: Final = re.compile(r'@calendar\s+"([^"]*)"\s+(\S.*)')
ZONE: Final = "CRON_TZ"


class ScheduleError(ValueError):
    """A text says no times; what is wrong with it."""


@dataclass(frozen=True)
class Schedule:
    """Times in cron's five fields, or a calendar event."""

    text: str
    is_calendar: bool = False

    def next_after(self, moment: float, zone: str) -> float | None:
        """Return the first time after ``moment``, both in seconds since the UTC epoch; None when there is none."""
        if self.is_calendar:
            return parse(self.text).next_after(moment, zone)
        from cronsim import CronSim

        local = datetime.datetime.fromtimestamp(int(moment), zoneinfo.ZoneInfo(zone))
        found = next(CronSim(self.text, local), None)
        return None if found is None else found.timestamp()


@dataclass(frozen=True)
class Job:
    """One line of ``etc/cron.d``."""

    name: str  # the file's, with the number of the job in it from the second on
    schedule: Schedule
    command: str  # for /bin/sh
    environment: tuple[tuple[str, str], ...] = ()
    zone: str = ""  # empty: the program's


def read_schedule(text: str, seed: str = "") -> Schedule:
    """Return the times that ``text`` says: cron's five fields, ``@daily``, a calendar event, or ``once-a-day``.

    What is said to come once, at any time, has a time that depends on ``seed`` and always stays the same.
    """
    text = " ".join(text.split())
    if text in _ONCE:
        number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8])
        places = {}
        for name, count, first in (("minute", 60, 0), ("hour", 24, 0), ("weekday", 7, 0), ("day", 28, 1)):
            number, place = divmod(number, count)
            places[name] = place + first
        text = _ONCE[text].format(**places)
    text = _WORDS.get(text.lower(), text)
    if text.startswith("@") and not text[1:].isdigit():
        raise ScheduleError(f"{text!r} is none of {', '.join((*_WORDS, *_ONCE))}")
    if len(text.split()) != 5:
        try:
            parse(text)
        except CalendarError as error:
            raise ScheduleError(f"{text!r} is neither five fields of cron nor a calendar event: {error}") from error
        return Schedule(text, is_calendar=True)
    from cronsim import CronSim, CronSimError

    try:
        CronSim(text, datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC))
    except CronSimError as error:
        raise ScheduleError(f"{text!r} is not cron's: {str(error).lower()}") from error
    return Schedule(text)


def entry(schedule: Schedule, command: str, environment: Mapping[str, str], zone: str) -> str:
    """Return the text of a file in ``etc/cron.d``; no word of it may hold a line's end."""
    variables = {**environment, **({ZONE: zone} if zone else {})}
    lines = [f'{name}="{value}"' for name, value in variables.items()]
    when = f'@calendar "{schedule.text}"' if schedule.is_calendar else schedule.text
    return "\n".join([*lines, f"{when} {command}"]) + "\n"


def read_entries(name: str, text: str) -> Iterator[Job | str]:
    """Give the jobs of a file, and for each line that is none what is wrong with it."""
    environment: dict[str, str] = {}
    count = 0
    for number, line in enumerate(map(str.strip, text.split("\n")), start=1):
        if not line or line.startswith("#"):
            continue
        assignment = _ASSIGNMENT.fullmatch(line)
        if assignment:
            environment[assignment[1]] = _unquoted(assignment[2])
            continue
        try:
            schedule, command = _split(line)
            zone = environment.get(ZONE, "")
            if zone:
                check_zone(zone)
        except ValueError as error:
            yield f"{name}, line {number}: {error}"
            continue
        count += 1
        variables = tuple((key, value) for key, value in environment.items() if key != ZONE)
        yield Job(name if count == 1 else f"{name}:{count}", schedule, command, variables, zone)


def _split(line: str) -> tuple[Schedule, str]:
    calendar = _CALENDAR.fullmatch(line)
    if calendar:
        return read_schedule(calendar[1]), calendar[2]
    fields = line.split(None, 1 if line.startswith("@") else 5)
    if len(fields) not in (2, 6):
        raise ScheduleError(f"{line!r} is not a time and a command")
    return read_schedule(" ".join(fields[:-1])), fields[-1]


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] in "\"'" and value[-1] == value[0] else value
