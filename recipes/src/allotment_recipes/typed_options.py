# SPDX-License-Identifier: Apache-2.0
"""Values that are no texts in a profile: ``!py!`` and a Python literal, as in profiles of SlapOS, or ``!json!``."""

import ast
import json
import math
from types import NoneType
from typing import Any, Final

from allotment_recipes.reader.limits import LITERAL

MARK: Final = "!py!"
JSON_MARK: Final = "!json!"


def is_marked(text: str) -> bool:
    """Whether the text of an option says that it stands for another value."""
    return text.startswith((MARK, JSON_MARK))


def dumps(value: Any) -> str:
    """Return the text that stands for a value in a profile; a text too, as it may hold line ends or ``${``.

    Plain data only: texts, bytes, numbers, truth values, None, and lists, tuples, sets and dictionaries of these.
    """
    text = repr(_plain(value)).replace("$", "\\x24")  # a dollar sign stands inside of quotes only
    return f"{MARK}{text}"


def loads(text: str) -> Any:
    """Return the value of an option; what has no mark is a text. A damaged value is a ``ValueError``.

    No code is run for it: a literal has numbers, texts and the like, and nothing that calls or names.
    """
    if not is_marked(text):
        return text
    mark, what = (MARK, "a Python literal") if text.startswith(MARK) else (JSON_MARK, "JSON")
    literal = text[len(mark) :].strip()
    if len(literal) > LITERAL:
        raise ValueError(f"{text[:80]!r} is no value: it has more than {LITERAL >> 20} MB")
    if mark == MARK and literal == "set()":
        return set()
    try:
        return ast.literal_eval(literal) if mark == MARK else json.loads(literal, parse_constant=_no_number)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"{text[:80]!r} is no value: what follows {mark} is not {what}") from error


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


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
