# SPDX-License-Identifier: Apache-2.0
"""Checks of numbers among options, and the options ``minimum`` and ``maximum``, which several promise types have."""

from allotment.options import OptionProblem, option_name


def check_above_zero(**options: float) -> None:
    """Raise when one of these options, called as their fields, is zero or below; for ``__post_init__``."""
    for name, value in options.items():
        if value <= 0:
            raise OptionProblem(option_name(name), f"{value:g} is not above zero", "Write it like 5")


def check_not_below_zero(**options: float) -> None:
    """Raise when one of these options, called as their fields, is below zero; for ``__post_init__``."""
    for name, value in options.items():
        if value < 0:
            raise OptionProblem(option_name(name), f"{value:g} is below zero", "Write 0 or more")


def check_port(port: int) -> None:
    """Raise when a TCP port can't be one; for ``__post_init__``."""
    if not 0 < port < 65536:
        raise OptionProblem("port", f"{port} is no TCP port", "Write one between 1 and 65535")


def check_limits(minimum: float | None, maximum: float | None, *, required: bool = True) -> None:
    """Raise when no value is within the limits or, if ``required``, none is given; for ``__post_init__``."""
    if required and minimum is None and maximum is None:
        raise OptionProblem("minimum, maximum", "none of them is given", "Give one of them, or both")
    if minimum is not None and maximum is not None and minimum > maximum:
        raise OptionProblem("minimum, maximum", f"{minimum:g} is above {maximum:g}", "Exchange them")


def outside(value: float, minimum: float | None, maximum: float | None) -> str:
    """Return ``", expected at least 3"`` or the like when ``value`` is not within the limits; empty when it is."""
    is_low = minimum is not None and not value >= minimum
    is_high = maximum is not None and not value <= maximum
    if not is_low and not is_high:
        return ""
    if maximum is None:
        return f", expected at least {minimum:g}"
    if minimum is None:
        return f", expected at most {maximum:g}"
    return f", expected {minimum:g} to {maximum:g}"
