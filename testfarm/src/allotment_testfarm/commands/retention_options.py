# SPDX-License-Identifier: Apache-2.0
"""The options that say how long a farm keeps what takes space: for the engine, and for who looks ahead."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from allotment_testfarm.retention import Rules

F = TypeVar("F", bound=Callable[..., Any])
_PREFIX = "keep_"  # before a rule's name, in the name of its option
_HELP = {
    "green_logs": "Days that the log of a green job is kept.",
    "logs": "Days that every other log is kept.",
    "jobs": "So many newest jobs of each release keep their logs, however old they are.",
    "manifests": "So many newest manifests of each release keep their closures, and the logs that proved them.",
    "events": "Days that events are kept.",
    "parts": "Days that a part of the binary cache is kept that none of these manifests names.",
}


def retention_options(function: F) -> F:
    """Decorator: add one option for each rule; :func:`rules_of` reads what the command receives of them."""
    for rule, text in reversed(_HELP.items()):
        default = getattr(Rules, rule)
        kind: click.ParamType[Any] = click.IntRange(1) if isinstance(default, int) else click.FloatRange(0)
        option = f"--{_PREFIX}{rule}".replace("_", "-")
        function = click.option(option, type=kind, default=default, show_default=True, help=text)(function)
    return function


def rules_of(options: dict[str, Any]) -> Rules:
    """Return the rules that a command was given."""
    return Rules(**{name.removeprefix(_PREFIX): value for name, value in options.items()})
