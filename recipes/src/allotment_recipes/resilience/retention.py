# SPDX-License-Identifier: Apache-2.0
"""Which copies are kept: ``14`` (newest), ``14 daily``, ``8 weekly``, ``12 monthly``, ``3 yearly``, or ``2W`` (age)."""

import datetime
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from allotment_recipes.resilience.generations import made_at

_RULE: Final = re.compile(r"([1-9][0-9]{0,5})(?:([hDWMY])| +(daily|weekly|monthly|yearly))?")
_SECONDS: Final = {"h": 3600, "D": 86400, "W": 7 * 86400, "M": 30 * 86400, "Y": 365 * 86400}
_PERIODS: Final = {"daily": "%Y-%m-%d", "weekly": "%G-%V", "monthly": "%Y-%m", "yearly": "%Y"}


@dataclass(frozen=True)
class Rule:
    """One reason to keep copies."""

    number: int
    unit: str = ""  # of an age: h, D, W, M, Y
    period: str = ""  # of which each keeps its newest copy: daily, weekly, monthly, yearly

    def keeps(self, names: list[str], now: float) -> set[str]:
        """Return which of the names, the newest first, this rule keeps."""
        if self.unit:
            return {name for name in names if now - made_at(name) <= self.number * _SECONDS[self.unit]}
        if not self.period:
            return set(names[: self.number])
        newest: dict[str, str] = {}
        for name in names:
            period = datetime.datetime.fromtimestamp(made_at(name), datetime.UTC).strftime(_PERIODS[self.period])
            newest.setdefault(period, name)
        return set(list(newest.values())[: self.number])


def parse(text: str) -> tuple[Rule, ...]:
    """Return the rules of a text such as ``14 daily, 8 weekly``."""
    found = [_RULE.fullmatch(" ".join(part.split())) for part in text.split(",")]
    rules = tuple(Rule(int(match[1]), match[2] or "", match[3] or "") for match in found if match)
    if len(rules) != len(found):
        raise ValueError(f"{text!r} does not say what is kept")
    return rules


def kept(names: Iterable[str], rules: Iterable[Rule], now: float) -> set[str]:
    """Return the names that any rule keeps, and always the newest."""
    ordered = sorted(names, reverse=True)
    return set(ordered[:1]).union(*(rule.keeps(ordered, now) for rule in rules))
