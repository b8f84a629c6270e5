# SPDX-License-Identifier: Apache-2.0
"""Calendar events in systemd's syntax: ``Mon..Fri *-*-* 10:00``, ``*:0/15``, ``monthly``, ``*-02~03 Europe/Paris``.

The grammar is that of ``OnCalendar=`` (systemd.time(7)), but that fractions of a second are refused. Where clocks are
put forward, a time that does not exist is replaced by the moment after the gap; where they are put back, a time of the
repeated hour comes twice when the event's hour is ``*``, and else once, the first time.
"""

import bisect
import calendar
import datetime
import functools
import re
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SHORTHANDS: Final = {
    "minutely": "*-*-* *:*:00",
    "hourly": "*-*-* *:00:00",
    "daily": "*-*-* 00:00:00",
    "monthly": "*-*-01 00:00:00",
    "weekly": "Mon *-*-* 00:00:00",
    "yearly": "*-01-01 00:00:00",
    "annually": "*-01-01 00:00:00",
    "anually": "*-01-01 00:00:00",
    "quarterly": "*-01,04,07,10-01 00:00:00",
    "semiannually": "*-01,07-01 00:00:00",
    "semi-annually": "*-01,07-01 00:00:00",
    "biannually": "*-01,07-01 00:00:00",
    "bi-annually": "*-01,07-01 00:00:00",
}
_YEARS: Final = range(1970, 2200)
_ITEM: Final = re.compile(r"(\d{1,4})(?:\.\.(\d{1,4}))?(?:/(\d{1,4}))?", re.ASCII)
_WEEKDAY: Final = re.compile(r"([A-Za-z]+)(?:(?:\.\.|-)([A-Za-z]+))?")
_EPOCH: Final = re.compile(r"@(\d{1,10})", re.ASCII)
_DATE_CHARACTERS: Final = re.compile(r"[-~0-9*.,/]+", re.ASCII)
_DAY: Final = 86400.0  # seconds


class CalendarError(ValueError):
    """A text is not a calendar event; says which part of it."""


@dataclass(frozen=True)
class CalendarEvent:
    """The times that an event stands for. Empty ``days`` or ``days_from_end`` means that the other one counts."""

    weekdays: frozenset[int]  # Monday is 0
    years: tuple[int, ...]
    months: tuple[int, ...]
    days: frozenset[int]
    days_from_end: frozenset[int]  # the last day of a month is 1
    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    seconds: tuple[int, ...]
    is_hourly: bool  # the hour is *
    zone: str = ""  # empty: the one of whoever asks
    _times: tuple[int, ...] = field(init=False, repr=False, compare=False)  # seconds of a day

    def __post_init__(self) -> None:
        times = tuple(h * 3600 + m * 60 + s for h in self.hours for m in self.minutes for s in self.seconds)
        object.__setattr__(self, "_times", times)

    def next_after(self, moment: float, zone: str) -> float | None:
        """Return the first time after ``moment``, both in seconds since the UTC epoch; None when there is none.

        ``zone`` is the time zone of an event that names none.
        """
        clock = zoneinfo.ZoneInfo(self.zone or zone)
        today = datetime.datetime.fromtimestamp(moment, clock).date()
        for day in self._days(max(today, datetime.date(1970, 1, 2)) - datetime.timedelta(days=1)):
            found = self._next_in(datetime.datetime(day.year, day.month, day.day), moment, clock)
            if found is not None:
                return found
        return None

    def _next_in(self, start: datetime.datetime, moment: float, zone: zoneinfo.ZoneInfo) -> float | None:
        """Return the first time of the day that begins at ``start`` which is after ``moment``."""
        begin, end = ((start + datetime.timedelta(days=days)).replace(tzinfo=zone).timestamp() for days in (0, 1))
        change = abs(end - begin - _DAY)  # of the clock, in seconds, most often 0
        best: float | None = None
        for index in range(bisect.bisect_left(self._times, moment - begin - change), len(self._times)):
            time = self._times[index]
            if best is not None and begin + time - change > best:
                break
            for at in self._instants(start + datetime.timedelta(seconds=time), zone):
                if at > moment and (best is None or at < best):
                    best = at
        return best

    def _days(self, first: datetime.date) -> Iterator[datetime.date]:
        """Give the matching days from ``first`` on, in order."""
        for year in self.years:
            if year < first.year:
                continue
            for month in self.months:
                if (year, month) < (first.year, first.month):
                    continue
                length = calendar.monthrange(year, month)[1]
                for number in range(1, length + 1):
                    day = datetime.date(year, month, number)
                    is_in = number in self.days or length + 1 - number in self.days_from_end
                    if is_in and day >= first and day.weekday() in self.weekdays:
                        yield day

    def _instants(self, local: datetime.datetime, zone: zoneinfo.ZoneInfo) -> tuple[float, ...]:
        earlier, later = (local.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
        if earlier == later:
            return (earlier,)
        if earlier < later:
            return (earlier, later) if self.is_hourly else (earlier,)
        # In a gap: `earlier` is the time as it would be with the old offset, at or after the gap's end.
        return () if self.is_hourly else (_end_of_gap(later, earlier, zone),)


def _end_of_gap(low: float, high: float, zone: zoneinfo.ZoneInfo) -> float:
    """Return the first second with the new offset; ``low`` has the old one, ``high`` the new one."""

    def offset(moment: float) -> datetime.timedelta | None:
        return datetime.datetime.fromtimestamp(moment, zone).utcoffset()

    before, after = int(low), int(high)
    while after - before > 1:
        middle = (before + after) // 2
        if offset(middle) == offset(low):
            before = middle
        else:
            after = middle
    return float(after)


@functools.lru_cache(maxsize=256)
def parse(text: str) -> CalendarEvent:
    """Return the event that ``text`` stands for, or raise :class:`CalendarError`."""
    words = text.split()
    zone = _zone(words)
    if len(words) == 1 and words[0].lower() in _SHORTHANDS:
        words = _SHORTHANDS[words[0].lower()].split()
    epoch = _EPOCH.fullmatch(words[0]) if len(words) == 1 else None
    if epoch:
        if zone:
            raise CalendarError(f"{text!r}: seconds since the epoch have no time zone")
        moment = datetime.datetime.fromtimestamp(int(epoch[1]), datetime.UTC)
        words, zone = [f"{moment:%Y-%m-%d}", f"{moment:%H:%M:%S}"], "UTC"
    weekdays = frozenset(range(7))
    if words and words[0][0].isalpha():
        weekdays = _parse_weekdays(words.pop(0))
        if not words:
            words = ["*-*-*"]
    if not words or len(words) > 2:
        raise CalendarError(f"{text!r} is not weekdays, a date and a time")
    time = words.pop() if ":" in words[-1] else "00:00"
    date = words.pop() if words else "*-*-*"
    if words:
        raise CalendarError(f"{date!r} is not a time such as 10:30" if ":" not in date else f"{words[0]!r} is no date")
    return CalendarEvent(weekdays, *_parse_date(date), *_parse_time(time), zone)


def _zone(words: list[str]) -> str:
    """Take the time zone from the end of the words."""
    if len(words) < 2 or not words[-1][0].isalpha() or words[-1].lower() in _SHORTHANDS:
        return ""
    name = "UTC" if words[-1].upper() == "UTC" else words[-1]
    check_zone(name)
    words.pop()
    return name


def check_zone(name: str) -> None:
    """Raise :class:`CalendarError` for a name that is not a time zone's."""
    try:
        zoneinfo.ZoneInfo(name)
    except (OSError, ValueError) as error:  # a folder of zones; a path out of them
        raise CalendarError(f"{name!r} is not a time zone such as Europe/Paris") from error
    except zoneinfo.ZoneInfoNotFoundError as error:
        raise CalendarError(f"{name!r} is not a time zone such as Europe/Paris") from error


def _parse_weekdays(text: str) -> frozenset[int]:
    found: set[int] = set()
    for item in text.removesuffix(",").split(","):
        match = _WEEKDAY.fullmatch(item)
        if not match:
            raise CalendarError(f"{item!r} is not a weekday or a range such as Mon..Fri")
        first = _weekday(match[1])
        last = _weekday(match[2]) if match[2] else first
        if last < first:
            raise CalendarError(f"{item!r} ends before it begins")
        found.update(range(first, last + 1))
    return frozenset(found)


def _weekday(name: str) -> int:
    for number, weekday in enumerate(_WEEKDAYS):
        if name.lower() in (weekday, weekday[:3]):
            return number
    raise CalendarError(f"{name!r} is not a weekday such as Mon")


def _parse_date(text: str) -> tuple[tuple[int, ...], tuple[int, ...], frozenset[int], frozenset[int]]:
    if not _DATE_CHARACTERS.fullmatch(text):
        raise CalendarError(f"{text!r} is not a date such as *-*-01")
    rest, tilde, day = text.rpartition("~")
    if not tilde:
        rest, dash, day = text.rpartition("-")
        if not dash:
            raise CalendarError(f"{text!r} is not a date such as *-*-01")
    parts = rest.split("-")
    if len(parts) > 2:
        raise CalendarError(f"{text!r} is not a date such as *-*-01")
    years = _numbers(parts[0], "year", _YEARS) if len(parts) == 2 else tuple(_YEARS)
    months = _numbers(parts[-1], "month", range(1, 13))
    if tilde:
        return years, months, frozenset(), frozenset(_numbers(day, "day", range(1, 32), is_backward=True))
    return years, months, frozenset(_numbers(day, "day", range(1, 32))), frozenset()


def _parse_time(text: str) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], bool]:
    parts = text.split(":")
    if not 2 <= len(parts) <= 3:
        raise CalendarError(f"{text!r} is not a time such as 10:30 or 10:30:00")
    parts = [*parts, "00"][:3]
    if re.search(r"(?<!\.)\.(?!\.)", parts[2]):
        raise CalendarError(f"{text!r}: fractions of a second are not for cron")
    minutes = range(60)
    hours = _numbers(parts[0], "hour", range(24))
    return hours, _numbers(parts[1], "minute", minutes), _numbers(parts[2], "second", minutes), parts[0] == "*"


def _numbers(text: str, name: str, valid: range, *, is_backward: bool = False) -> tuple[int, ...]:
    """Return the numbers of ``1``, ``1..5``, ``0/15``, ``1..9/2`` or ``*``, or of several with commas between them.

    Days that are counted from a month's end go on towards it (``is_backward``): ``7/2`` is then 7, 5, 3 and 1.
    """
    if text == "*":
        return tuple(valid)
    found: set[int] = set()
    for item in text.split(","):
        match = _ITEM.fullmatch(item)
        if not match:
            raise CalendarError(f"{item!r} is not a {name}, a range such as 1..5, or a step such as 0/15")
        start, stop, step = (None if digits is None else _number(digits, name) for digits in match.groups())
        assert start is not None
        is_open = stop is None and step is not None
        last = stop if stop is not None else start if step is None or is_backward else valid[-1]
        if step == 0:
            raise CalendarError(f"{item!r}: a step is above zero")
        if start not in valid or last not in valid:
            raise CalendarError(f"{item!r}: {name}s are from {valid[0]} to {valid[-1]}")
        if last < start:
            raise CalendarError(f"{item!r} ends before it begins")
        if is_open and is_backward:
            found.update(range(start, 0, -(step or 1)))
        else:
            found.update(range(start, last + 1, step or 1))
    return tuple(sorted(found))


def _number(digits: str, name: str) -> int:
    number = int(digits)
    if name == "year" and len(digits) <= 2:  # of which century
        return number + (2000 if number < 70 else 1900)
    return number
