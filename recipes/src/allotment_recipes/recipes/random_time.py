# SPDX-License-Identifier: Apache-2.0
"""Recipe ``random.time``: a time of day that is chosen once."""

import re
import secrets
from dataclasses import dataclass

from allotment_recipes.kept_value import KeptOptions, KeptValue


@dataclass(frozen=True, kw_only=True)
class Options(KeptOptions):
    time: str = ""  # HH:MM, used and kept instead, such as what publish-early gives back


class Recipe(KeptValue[Options]):
    """Choose ``time``, HH:MM from 00:00 to 23:59, and keep it: so that a fleet's jobs don't all begin at midnight."""

    result = "time"

    def make(self) -> str:
        hour, minute = divmod(secrets.randbelow(24 * 60), 60)
        return f"{hour:02}:{minute:02}"

    def problem(self, value: str) -> str:
        return "" if re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", value) else f"{value!r} is not a time like 03:07"
