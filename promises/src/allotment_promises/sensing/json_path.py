# SPDX-License-Identifier: Apache-2.0
"""Find one value in a JSON document that others wrote."""

import json
import math
from typing import Any


class JsonPathProblem(Exception):
    """The value is not there; the text says how far the path leads."""


def find(document: Any, path: str) -> Any:
    """Return what ``path`` leads to: keys of objects, and places in lists from 0 on, parted by ``/``."""
    value = document
    steps = [step for step in path.split("/") if step]
    for at, step in enumerate(steps):
        before = "/".join(steps[:at]) or "the document"
        if isinstance(value, dict):
            if step not in value:
                raise JsonPathProblem(f"{before} has no {step!r}, but {_some(value)}")
            value = value[step]
        elif isinstance(value, list):
            if not (step.isascii() and step.isdigit() and len(step) < 10 and int(step) < len(value)):
                raise JsonPathProblem(f"{before} is a list of {len(value)} and has no {step!r}")
            value = value[int(step)]
        else:
            raise JsonPathProblem(f"{before} is {shown(value)} and has no {step!r}")
    return value


def number_of(value: Any) -> float | None:
    """Return a number as it is, how many items a list or an object has, and None for anything else."""
    if isinstance(value, list | dict):
        return float(len(value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        return None
    return number if math.isfinite(number) else None


def shown(value: Any) -> str:
    """Return a text as it is and anything else as JSON, cut after 200 characters."""
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))[:200]


def _some(value: dict[str, Any]) -> str:
    names = [repr(name) for name in list(value)[:10]]
    return ", ".join(names) + (", ..." if len(value) > 10 else "") if names else "nothing"
