# SPDX-License-Identifier: Apache-2.0
"""Parameters against a release's JSON schema, the same on master, node and in recipes; needs ``allotment[schema]``.

Errors name the parameter, what is wrong and the fix; they never show a secret. Nothing is ever fetched.
"""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from allotment.errors import MessageError, nearest
from allotment.messages.manifest import ReleaseManifest, SoftwareType
from allotment.secret import Secret, mark, revealed

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

_NAMING: Final = ("dependentRequired", "unevaluatedProperties")  # rules whose text names properties, not values


class ParameterError(MessageError):
    """Parameters are not what their schema says, or the schema can't be used."""


def software_type(manifest: ReleaseManifest, name: str) -> SoftwareType:
    """Return one of a release's software types."""
    found = manifest.software_type(name)
    if found is None:
        known = tuple(manifest.software_types)
        raise ParameterError(f"release {manifest.name} has no software type '{name}'", nearest(name, known))
    return found


def check_schemas(manifest: ReleaseManifest) -> None:
    """Check every schema of a release."""
    for name, kind in manifest.software_types.items():
        for word, schema in (("parameters", kind.parameters), ("published values", kind.published)):
            check_schema(schema, f"release {manifest.name}, type {name}: the schema of its {word}")


def check_schema(schema: Any, where: str) -> None:
    """Refuse what is no JSON schema of draft 2020-12, or refers to another document."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        place = "/".join(map(str, error.absolute_path)) or "the schema"
        raise ParameterError(f"{where} is not a JSON schema: {place}: {error.message}", "Correct the schema") from None
    for reference in _references(schema):
        if not reference.startswith("#"):
            raise _refers(where, reference)


def accepted(manifest: ReleaseManifest, type_name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of an instance as :func:`checked` does, by its software type's schema."""
    schema = software_type(manifest, type_name).parameters
    return checked(parameters, schema, f"release {manifest.name}, type {type_name}")


def checked(parameters: Mapping[str, Any], schema: Any, where: str) -> dict[str, Any]:
    """Return parameters with their secrets marked; the first that the schema does not accept is an error.

    ``where`` begins each message.
    """
    from jsonschema import Draft202012Validator  # here: an agent with nothing to process does without its 10 MB
    from jsonschema.exceptions import best_match
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    marked: dict[str, Any] = mark(parameters, schema)
    # An empty registry: the default one fetches what a schema refers to from the network.
    validator = Draft202012Validator(schema, registry=Registry())
    try:
        error = best_match(validator.iter_errors(revealed(marked)))
    except Unresolvable as problem:
        raise _refers(f"{where}: the schema", problem.ref) from None
    except RecursionError:
        raise ParameterError(f"{where}: the schema refers to itself without end", "Correct the schema") from None
    if error is not None:
        raise _explained(error, mark(_as_texts(marked), schema), where)
    return marked


def _explained(error: "ValidationError", texts: Mapping[str, Any], where: str) -> ParameterError:
    path = ".".join(map(str, error.absolute_path))
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    if error.validator == "additionalProperties" and isinstance(error.instance, Mapping):
        known = tuple(schema.get("properties", {}))
        patterns = schema.get("patternProperties", {})
        odd = (key for key in error.instance if not any(re.search(pattern, key) for pattern in patterns))
        unknown = next(key for key in odd if key not in known)
        return ParameterError(f"{where}: unknown parameter {_join(path, unknown)}", nearest(unknown, known))
    if error.validator == "required" and isinstance(error.instance, Mapping):
        missing = _join(path, next(key for key in error.validator_value if key not in error.instance))
        return ParameterError(f"{where}: parameter {missing} is missing", f"Add {missing}")
    what = f"{where}: parameter {path}" if path else f"{where}: the parameters"
    if error.validator not in _NAMING and _holds_secret(_at(texts, error.absolute_path)):
        return ParameterError(f"{what}: a secret breaks the rule '{error.validator}'", "Correct its value")
    description = str(schema.get("description", "")).strip().rstrip(".")
    hint = f"; it is: {description}" if description else ""
    return ParameterError(f"{what}: {error.message}", f"Correct its value{hint}")


def _refers(where: str, reference: str) -> ParameterError:
    return ParameterError(f"{where} refers to {reference}, which is not in it", "Put that into its $defs")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _as_texts(value: Any) -> Any:
    """Return parameters with numbers as texts: only texts are marked, but a secret may wrongly be given as a number."""
    if isinstance(value, Mapping):
        return {key: _as_texts(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_texts(item) for item in value]
    return value if isinstance(value, Secret) else str(value)


def _at(value: Any, path: Iterable[str | int]) -> Any:
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return value  # inside a secret: the secret itself
    return value


def _holds_secret(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_holds_secret(item) for item in value.values())
    if isinstance(value, list):
        return any(_holds_secret(item) for item in value)
    return isinstance(value, Secret)


def _references(value: Any) -> Iterable[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in ("$ref", "$dynamicRef") and isinstance(item, str):
                yield item
            else:
                yield from _references(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _references(item)
