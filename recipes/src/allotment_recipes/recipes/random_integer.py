# SPDX-License-Identifier: Apache-2.0
"""Recipe ``random.integer``: a number that is chosen once."""

import re
import secrets
from dataclasses import dataclass
from typing import Final

from allotment.options import OptionProblem
from allotment_recipes.kept_value import KeptOptions, KeptValue

_WHOLE: Final = re.compile(r"0|-?[1-9][0-9]{0,99}")


@dataclass(frozen=True, kw_only=True)
class Options(KeptOptions):
    minimum: int = 0  # the least
    maximum: int = 100  # the greatest; neither is left out
    value: str = ""  # used and kept instead, such as what publish-early gives back


class Recipe(KeptValue[Options]):
    """Choose ``value`` from ``minimum`` to ``maximum`` and keep it; another one is chosen when it is out of them."""

    def prepare(self) -> None:
        low, high = self.options.minimum, self.options.maximum
        if low > high:
            raise OptionProblem("maximum", f"{high} is less than minimum, {low}", "Exchange them")
        super().prepare()

    def make(self) -> str:
        return str(self.options.minimum + secrets.randbelow(self.options.maximum - self.options.minimum + 1))

    def problem(self, value: str) -> str:
        low, high = self.options.minimum, self.options.maximum
        if not _WHOLE.fullmatch(value):  # others read the text as it is: it has to be one number for all of them
            return f"{value!r} is not a whole number"
        return "" if low <= int(value) <= high else f"{value} is not from {low} to {high}"
