# SPDX-License-Identifier: Apache-2.0
"""Parameters of requests against the JSON schema of a release: errors name the parameter and never show a secret."""

from collections.abc import Iterable, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from referencing import Registry
from referencing.exceptions import Unresolvable

from allotment.codec import Json
from allotment.errors import nearest
from allotment.messages.manifest import ReleaseManifest, SoftwareType
from allotment.secret import Secret, mark, revealed
from allotment_master.kit.errors import InvalidError


def software_type(manifest: ReleaseManifest, name: str) -> SoftwareType:
    """Return one of a release's software types."""
    found = manifest.software_types.get(name)
    if found is None:
        known = tuple(manifest.software_types)
        raise InvalidError(f"release {manifest.name} has no software type '{name}'", nearest(name, known))
    return found


def check_schemas(manifest: ReleaseManifest) -> None:
    """Refuse a manifest whose schemas are none, or refer to documents elsewhere: nothing is ever fetched."""
    for name, kind in manifest.software_types.items():
        for word, schema in (("parameters", kind.parameters), ("published", kind.published)):
            place = f"release {manifest.name}, type {name}: the schema of its {word}"
            try:
                Draft202012Validator.check_schema(schema)
            except SchemaError as error:
                raise InvalidError(f"{place} is wrong: {error.message}", "Correct the release's schema") from None
            for reference in _references(schema):
                if not reference.startswith("#"):
                    raise InvalidError(f"{place} refers to {reference}", "Put what it refers to into its $defs")


def checked(manifest: ReleaseManifest, type_name: str, parameters: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return parameters with their secrets marked; those that the schema does not accept are an error."""
    schema = software_type(manifest, type_name).parameters
    marked: Mapping[str, Json] = mark(parameters, schema) if isinstance(schema, Mapping) else parameters
    validator = Draft202012Validator(schema, registry=Registry())
    try:
        error = best_match(validator.iter_errors(revealed(marked)))
    except (Unresolvable, RecursionError) as problem:
        raise InvalidError(
            f"release {manifest.name}, type {type_name}: its schema can't be followed: {type(problem).__name__}",
            "Correct the release's schema",
        ) from None
    if error is not None:
        raise _explained(error, marked, f"release {manifest.name}, type {type_name}")
    return marked


def _explained(error: ValidationError, marked: Mapping[str, Json], place: str) -> InvalidError:
    path = ".".join(str(step) for step in error.absolute_path)
    what = f"{place}: parameter {path}" if path else f"{place}: parameters"
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    if error.validator == "additionalProperties" and isinstance(error.instance, Mapping):
        known = tuple(schema.get("properties", {}))
        unknown = next((key for key in error.instance if key not in known), "?")
        name = f"{path}.{unknown}" if path else unknown
        return InvalidError(f"{place}: unknown parameter {name}", nearest(unknown, known))
    if error.validator == "required" and isinstance(error.instance, Mapping):
        missing = next((key for key in error.validator_value if key not in error.instance), "?")
        name = f"{path}.{missing}" if path else missing
        return InvalidError(f"{place}: parameter {name} is missing", f"Add {name}")
    if schema.get("writeOnly") is True or _holds_secret(_at(marked, error.absolute_path)):  # a number may be one too
        return InvalidError(f"{what} is a secret that breaks its rule '{error.validator}'", "Correct its value")
    return InvalidError(f"{what}: {error.message}", f"Correct its value{_hint(schema)}")


def _hint(schema: Mapping[str, Any]) -> str:
    description = str(schema.get("description", "")).strip().rstrip(".")
    return f"; it is: {description}" if description else ""


def _at(value: Any, path: Iterable[str | int]) -> Any:
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return value  # inside a secret: the secret itself
    return value


def _holds_secret(value: Any) -> bool:
    if isinstance(value, Secret):
        return True
    if isinstance(value, Mapping):
        return any(_holds_secret(item) for item in value.values())
    return isinstance(value, list | tuple) and any(_holds_secret(item) for item in value)


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
