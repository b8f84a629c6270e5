# SPDX-License-Identifier: Apache-2.0
"""When a line of a log was written: the ways in which usual programs say it."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

_WITHIN = 256  # characters at the beginning of a line that may hold its time
_DAY = 86400.0  # seconds
_MONTHS = {"JanFebMarAprMayJunJulAugSepOctNovDec"[at * 3 : at * 3 + 3]: at + 1 for at in range(12)}
_CLOCK = r"(\d\d):(\d\d):(\d\d)"
_NAMED = "(" + "|".join(_MONTHS) + ")"


def _iso(found: re.Match[str], now: float) -> float:
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=_zone(zone))
    return moment.timestamp() + float(f"0.{fraction or 0}")


def _access(found: re.Match[str], now: float) -> float:
    day, month, year, hour, minute, second, zone = found.groups()
    moment = datetime(int(year), _MONTHS[month], int(day), int(hour), int(minute), int(second), tzinfo=_zone(zone))
    return moment.timestamp()


def _apache_error(found: re.Match[str], now: float) -> float:
    month, day, hour, minute, second, year = found.groups()
    return datetime(int(year), _MONTHS[month], int(day), int(hour), int(minute), int(second)).timestamp()


def _syslog(found: re.Match[str], now: float) -> float:
    month, day, hour, minute, second = found.groups()
    year = time.localtime(now).tm_year
    clock = (int(hour), int(minute), int(second))
    try:
        moment = datetime(year, _MONTHS[month], int(day), *clock).timestamp()
    except ValueError:  # 29 February in a year after it
        moment = now + 2 * _DAY
    return moment if moment <= now + _DAY else datetime(year - 1, _MONTHS[month], int(day), *clock).timestamp()


def _epoch(found: re.Match[str], now: float) -> float:
    return float(found[1])


_FORMS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], float], float]], ...] = (
    (
        re.compile(rf"(\d{{4}})[-/](\d\d)[-/](\d\d)[T ]{_CLOCK}(?:[.,](\d{{1,9}}))?\s?(Z|[+-]\d\d:?\d\d)?", re.ASCII),
        _iso,
    ),
    (re.compile(rf"\[(\d\d)/{_NAMED}/(\d{{4}}):{_CLOCK} ([+-]\d{{4}})\]", re.ASCII), _access),
    (re.compile(rf"\[[A-Z][a-z]{{2}} {_NAMED} +(\d{{1,2}}) {_CLOCK}(?:\.\d+)? (\d{{4}})\]", re.ASCII), _apache_error),
    (re.compile(rf"^(?:<\d+>)?{_NAMED} +(\d{{1,2}}) {_CLOCK}\b", re.ASCII), _syslog),
    (re.compile(r"^\[?(\d{10}(?:\.\d{1,9})?)\b", re.ASCII), _epoch),
)


class LogTimes:
    """Finds the time in lines of one log; it tries first what fitted last."""

    def __init__(self, now: float) -> None:
        self._now = now  # UTC epoch, seconds: tells the year where lines do not
        self._forms = list(_FORMS)

    def find(self, line: str) -> float | None:
        """Return when a line was written (UTC epoch, seconds), None when it does not say so.

        A time without a zone is one of this machine's zone. Known are ISO 8601 and its like, the access and error logs
        of Apache and nginx, syslog, and seconds since the epoch.
        """
        start = line[:_WITHIN]
        for at, (pattern, read) in enumerate(self._forms):
            found = pattern.search(start)
            if found is None:
                continue
            try:
                moment = read(found, self._now)
            except (ValueError, OverflowError):  # such as the 31st of a month that has none
                continue
            if at:
                self._forms.insert(0, self._forms.pop(at))
            return moment
        return None


def _zone(text: str | None) -> timezone | None:
    """Return the zone that ``+0200`` or ``Z`` means; None is the machine's."""
    if text is None:
        return None
    if text == "Z":
        return UTC
    distance = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    return timezone(-distance if text[0] == "-" else distance)
