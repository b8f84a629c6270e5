# SPDX-License-Identifier: Apache-2.0
"""Parameters against their JSON schema, where the extra ``allotment.recipes[schema]`` is installed."""

import importlib.util
import json
from collections.abc import Mapping
from typing import Any

from allotment.errors import AllotmentError

_NAMING = ("required", "additionalProperties", "dependentRequired")  # rules whose text names properties, not values


def is_checked() -> bool:
    """Say whether schemas can be checked here."""
    return importlib.util.find_spec("jsonschema") is not None


def defaults(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of the top-level properties; this needs no extra."""
    properties = schema.get("properties", {})
    return {name: item["default"] for name, item in properties.items() if isinstance(item, dict) and "default" in item}


def check_schema(schema: Mapping[str, Any], where: str) -> None:
    """Raise when a schema is not a JSON schema of draft 2020-12."""
    if not is_checked():
        return
    import jsonschema

    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        place = "/".join(map(str, error.absolute_path)) or "the schema"
        raise AllotmentError(f"{where} is not a JSON schema: {place}: {error.message}", "Correct the schema") from error


def check_parameters(parameters: Mapping[str, Any], schema: Mapping[str, Any], section: str) -> None:
    """Raise the first difference from the schema; the text shows no value, which may be secret."""
    if not is_checked():
        return
    import jsonschema
    import jsonschema_specifications  # type: ignore[import-untyped]  # it has no types
    import referencing.exceptions

    # This registry knows the standard's own schemas and, unlike the default one, never asks the network.
    validator = jsonschema.Draft202012Validator(schema, registry=jsonschema_specifications.REGISTRY)
    try:
        problems = sorted(validator.iter_errors(parameters), key=lambda item: [str(key) for key in item.absolute_path])
    except referencing.exceptions.Unresolvable as error:
        raise AllotmentError(
            f"[{section}] the schema refers to {error.ref}, which is not in it", "Put it under $defs"
        ) from error
    if not problems:
        return
    place = ".".join(map(str, problems[0].absolute_path)) or "the parameters"
    rule = f"breaks the rule {problems[0].validator}: {json.dumps(problems[0].validator_value)}"
    if problems[0].validator in _NAMING:
        rule = problems[0].message
    raise AllotmentError(f"[{section}] parameter {place}: {rule}", "Correct the request's parameters")
