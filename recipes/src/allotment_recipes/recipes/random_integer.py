# SPDX-License-Identifier: Apache-2.0
"""Recipe ``random.integer``: a number that is chosen once."""

import secrets
from dataclasses import dataclass

from allotment.options import OptionProblem
from allotment_recipes.kept_value import KeptOptions, KeptValue


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
        try:
            is_within = low <= int(value) <= high
        except ValueError:
            return f"{value!r} is not a whole number"
        return "" if is_within else f"{value} is not from {low} to {high}"
