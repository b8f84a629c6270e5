# SPDX-License-Identifier: Apache-2.0
"""Cron lines: when something is due again and again, in a time zone with its changes of the clock."""

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from allotment.errors import AllotmentError


@dataclass(frozen=True)
class Cron:
    """A cron line such as ``0 2 * * *`` and the time zone in which it is meant; one that can't be read is refused."""

    line: str
    time_zone: str = "UTC"

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: the name is a folder of zones
            raise AllotmentError(
                f"--time-zone '{self.time_zone}' is not known", "Write it like Europe/Paris, or leave it out for UTC"
            ) from error
        try:
            self.after(0.0)
        except CronSimError as error:
            raise self._refusal(str(error)) from error
        except StopIteration:
            raise self._refusal("that day never comes") from None

    def __str__(self) -> str:
        return f"{self.line} {self.time_zone}"

    def after(self, time: float) -> float:
        """Return when it is next due after a time; both are UTC epoch seconds."""
        local = datetime.fromtimestamp(time, UTC).astimezone(ZoneInfo(self.time_zone))
        found: datetime = next(CronSim(self.line, local))
        return found.timestamp()

    def _refusal(self, problem: str) -> AllotmentError:
        return AllotmentError(
            f"--nightly '{self.line}' can't be used: {problem}",
            "Write minute, hour, day, month and day of the week, like '0 2 * * *' for 2 o'clock each night",
        )
