# SPDX-License-Identifier: Apache-2.0
"""What recipes do with the JSON schema of parameters, also where the extra ``allotment.recipes[schema]`` is missing."""

import importlib.util
from collections.abc import Mapping
from typing import Any


def is_checked() -> bool:
    """Say whether schemas can be checked here."""
    return importlib.util.find_spec("jsonschema") is not None


def defaults(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of the top-level properties; this needs no extra."""
    properties = schema.get("properties", {})
    return {name: item["default"] for name, item in properties.items() if isinstance(item, dict) and "default" in item}
