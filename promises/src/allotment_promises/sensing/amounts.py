# SPDX-License-Identifier: Apache-2.0
"""Amounts in options and messages: bytes with a unit, a share of a whole, ages."""

import re
from dataclasses import dataclass

from allotment.options import OptionProblem

_AMOUNT = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*(%|[BKMGT]|[KMGT]i?B)?\s*")
_POWERS = {"B": 0, "K": 1, "M": 2, "G": 3, "T": 4}


@dataclass(frozen=True)
class Amount:
    """So many bytes (or other things that are counted), or a share of all."""

    value: float
    is_share: bool = False  # value is a ratio then

    def of(self, total: float) -> float:
        """Return how much it is of ``total``."""
        return self.value * total if self.is_share else self.value


def parse_amount(option: str, text: str, *, is_count: bool = False) -> Amount:
    """Return ``500M``, ``2 GiB`` (powers of 1024) or ``10 %`` as an amount; things that are counted have no unit."""
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise OptionProblem(option, f"{text!r} is no amount", f"Write it like {'1000' if is_count else '500M'} or 10 %")
    number, unit = float(found[1]), found[2] or ""
    if unit == "%":
        if number > 100:
            raise OptionProblem(option, f"{text!r} is more than all", "Write at most 100 %")
        return Amount(number / 100, is_share=True)
    if is_count and unit:
        raise OptionProblem(option, f"{text!r} has a unit", "Write a number, or a share like 10 %")
    if not is_count and not unit and number:
        raise OptionProblem(option, f"{text!r} has no unit", f"Write it like {text.strip()}M or {text.strip()}G")
    return Amount(number * 1024 ** _POWERS[unit[:1] or "B"])


def show_amount(amount: Amount, *, is_count: bool = False) -> str:
    """Return an amount as people read it."""
    if amount.is_share:
        return f"{amount.value * 100:g} %"
    return f"{amount.value:,.0f}" if is_count else show_bytes(amount.value)


def show_bytes(number: float) -> str:
    """Return bytes as people read them, such as ``3.2 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(number) < 1024:
            return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def show_seconds(seconds: float) -> str:
    """Return a time as people read it, such as ``90 s``, ``2.5 h`` or ``3.0 days``."""
    if abs(seconds) < 120:
        return f"{seconds:.3g} s"
    if abs(seconds) < 7200:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h" if abs(seconds) < 172800 else f"{seconds / 86400:.1f} days"


def show_count(number: int, one: str, many: str = "") -> str:
    """Return ``1 file`` or ``3 files``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
