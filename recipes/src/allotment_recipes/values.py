# SPDX-License-Identifier: Apache-2.0
"""Options that become JSON: what is published, and parameters of requested children."""

import json
from typing import Any

from allotment.options import OptionProblem
from allotment_recipes import typed_options


def strict_json(text: str) -> Any:
    """Return what a text of JSON holds; what no file could hold again, NaN or half a character, is a ValueError."""
    value = json.loads(text)
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    return value


def value_of(text: str) -> Any:
    """Return what an option holds as JSON: a text, or another value that is marked as in profiles of SlapOS.

    What looks marked and can't be JSON stays a text: it may come from a tenant, who must not be able to end a run.
    """
    if not typed_options.is_marked(text):
        return text
    try:
        value = typed_options.loads(text)
        return strict_json(json.dumps(sorted(value) if isinstance(value, set) else value))
    except (TypeError, ValueError, RecursionError):
        return text


def written_value(section: Any, option: str, text: Any) -> Any:
    """Return an option's value: what the profile itself marks as no text is what it stands for, or a ``ValueError``."""
    is_typed = getattr(section, "is_typed", None)
    return typed_options.loads(text) if isinstance(text, str) and is_typed is not None and is_typed(option) else text


def text_of(value: Any) -> str:
    """Return JSON data as an option's text: a text as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def json_object(option: str, text: str) -> dict[str, Any]:
    """Return an option that must be a JSON object."""
    try:
        found = strict_json(text)
    except (ValueError, RecursionError) as error:
        raise OptionProblem(option, f"is not JSON: {error}", "Write a JSON object") from error
    if not isinstance(found, dict):
        raise OptionProblem(option, "is not a JSON object", 'Write it like {"port": 8080}')
    return found
