# SPDX-License-Identifier: Apache-2.0
"""Values that are no texts in a profile: ``!py!`` and a Python literal, as in profiles of SlapOS."""

import ast
import math
from types import NoneType
from typing import Any, Final

MARK: Final = "!py!"


def dumps(value: Any) -> str:
    """Return the text that stands for a value in a profile; a text too, as it may hold line ends or ``${``.

    Plain data only: texts, bytes, numbers, truth values, None, and lists, tuples, sets and dictionaries of these.
    """
    text = repr(_plain(value)).replace("$", "\\x24")  # a dollar sign stands inside of quotes only
    return f"{MARK}{text}"


def loads(text: str) -> Any:
    """Return the value of an option; what has no mark is a text. A damaged value is a ``ValueError``."""
    if not text.startswith(MARK):
        return text
    literal = text[len(MARK) :].strip()
    if literal == "set()":
        return set()
    try:
        return ast.literal_eval(literal)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ValueError(f"{text[:80]!r} is no value: what follows {MARK} is not a Python literal") from error


def _plain(value: Any) -> Any:
    """Return the value made of the types that a literal has; others are refused, not guessed."""
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    for kind in (list, tuple, set):
        if isinstance(value, kind):
            return kind(_plain(item) for item in value)
    if isinstance(value, bytes | bool | NoneType):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    raise TypeError(f"{value!r} can't be an option: only plain data can")
