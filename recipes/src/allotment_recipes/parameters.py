# SPDX-License-Identifier: Apache-2.0
"""What recipes do with the JSON schema of parameters, also where the extra ``allotment.recipes[schema]`` is missing."""

import importlib.util
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from allotment.errors import AllotmentError, nearest
from allotment.messages.manifest import type_names
from allotment.options import OptionProblem
from allotment.secret import resolve
from allotment_recipes.values import strict_json

_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}
Step = Callable[[Any, list[Mapping[str, Any]]], Any]  # (value, the schemas that apply to it) -> the new value


def is_checked() -> bool:
    """Say whether schemas can be checked here."""
    return importlib.util.find_spec("jsonschema") is not None


def read_schema(path: Path, option: str) -> dict[str, Any]:
    """Return the JSON schema in ``path``; files that it refers to, by paths of their own, are put into its ``$defs``.

    Nothing is fetched. ``option`` is the one to be named when a file can't be used.
    """
    bundle = _Bundle(path, option)
    schema = bundle.rewritten(_read_object(path, option), path)
    if bundle.found:
        schema["$defs"] = {**schema.get("$defs", {}), **bundle.found}
    if is_checked():
        from allotment.parameters import ParameterError, check_schema

        try:
            check_schema(schema, str(path))
        except ParameterError as error:
            raise OptionProblem(option, error.what, error.fix) from error
    return schema


def schemas_of(path: Path, software_type: str, option: str) -> tuple[Path | None, Path | None]:
    """Return the schema files for parameters of an instance and of shared instances in it, by a release's description.

    ``path`` may be a ``software.cfg.json`` of ours or of SlapOS; any other document is itself the instance's schema.
    """
    document = _read_object(path, option)
    names = type_names(software_type)
    if isinstance(document.get("types"), Mapping) and "format" in document:
        entries = [document["types"][name] for name in names if name in document["types"]]
        if not entries or not isinstance(entries[0], Mapping) or "parameters" not in entries[0]:
            raise _no_type(path, software_type, document["types"], option)
        return path.parent / str(entries[0]["parameters"]), None
    types = document.get("software-type")
    if not isinstance(types, Mapping):
        return path, None
    files: dict[bool, Path] = {}
    for name in names:
        for key, item in types.items():
            if isinstance(item, Mapping) and item.get("software-type", key) == name and "request" in item:
                files.setdefault(item.get("shared") is True, path.parent / str(item["request"]))
    if not files:
        raise _no_type(path, software_type, types, option)
    return files.get(False), files.get(True)


def completed(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return parameters with the defaults of absent properties filled in, also within objects and lists that are there.

    Follows ``$ref`` and ``allOf``; a default inside a branch that may not apply (``if``, ``oneOf``, ``anyOf``) is no
    default.
    """

    def fill(item: Any, applied: list[Mapping[str, Any]]) -> Any:
        if not isinstance(item, dict):
            return item
        filled = dict(item)
        for part in applied:
            for name, inner in _mapping(part.get("properties")).items():
                rules = [rule for rule in _applied(inner, schema) if "default" in rule]
                if rules:
                    filled.setdefault(name, rules[0]["default"])
        return filled

    return _transformed(value, schema, fill)


def unstringified(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return parameters with texts read as JSON where the schema wants another type and the text is of that type."""

    def read(item: Any, applied: list[Mapping[str, Any]]) -> Any:
        wanted = [part["type"] for part in applied if "type" in part]
        names = {str(name) for kind in wanted for name in (kind if isinstance(kind, list) else [kind])}
        if not isinstance(item, str) or not names or "string" in names:
            return item
        try:
            found = strict_json(item)
        except (ValueError, RecursionError):
            return item
        fits = any(
            isinstance(found, _KINDS.get(name, ())) and isinstance(found, bool) == (name == "boolean") for name in names
        )
        return found if fits else item

    return _transformed(value, schema, read)


def _transformed(value: Any, schema: Mapping[str, Any], step: Step) -> Any:
    def walk(item: Any, schemas: list[Any]) -> Any:
        applied = [part for inner in schemas for part in _applied(inner, schema)]
        item = step(item, applied)
        if isinstance(item, dict):
            return {key: walk(inner, [rule for part in applied for rule in _of_property(part, key)])
                    for key, inner in item.items()}  # fmt: skip
        if isinstance(item, list):
            return [walk(inner, [_of_item(part, at) for part in applied]) for at, inner in enumerate(item)]
        return item

    try:
        return walk(value, [schema])
    except RecursionError:
        raise AllotmentError("the JSON schema refers to itself without end", "Correct the schema") from None


def _applied(schema: Any, root: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the schemas that surely apply where ``schema`` does: itself, what it refers to, each of its ``allOf``."""
    if not isinstance(schema, Mapping):
        return
    yield schema
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        yield from _applied(resolve(reference, root), root)
    parts = schema.get("allOf")
    for part in parts if isinstance(parts, list) else ():
        yield from _applied(part, root)


def _of_property(schema: Mapping[str, Any], name: str) -> list[Any]:
    properties = _mapping(schema.get("properties"))
    found = [properties[name]] if name in properties else []
    found += [item for pattern, item in _mapping(schema.get("patternProperties")).items() if re.search(pattern, name)]
    return found or [schema.get("additionalProperties")]


def _of_item(schema: Mapping[str, Any], at: int) -> Any:
    first = schema.get("prefixItems")
    return first[at] if isinstance(first, list) and at < len(first) else schema.get("items")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


class _Bundle:
    """One document out of several: each file that is referred to becomes a definition, named by its path."""

    def __init__(self, path: Path, option: str) -> None:
        self.found: dict[str, Any] = {}
        self._root = path
        self._option = option

    def rewritten(self, value: Any, file: Path) -> Any:
        if isinstance(value, list):
            return [self.rewritten(item, file) for item in value]
        if not isinstance(value, dict):
            return value
        return {
            key: self._local(item, file)
            if key in ("$ref", "$dynamicRef") and isinstance(item, str)
            else self.rewritten(item, file)
            for key, item in value.items()
        }

    def _local(self, reference: str, file: Path) -> str:
        name, _, fragment = reference.partition("#")
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", name):  # a URL: refused when the schema is checked
            return reference
        target = Path(os.path.normpath(file.parent / name)) if name else file
        if target == self._root or (fragment and not fragment.startswith("/")):  # an anchor is known in all of it
            place = ""
        else:
            place = f"/$defs/{self._key(target).replace('~', '~0').replace('/', '~1')}"
        if target != self._root:
            self._add(target)
        return f"#{place}{fragment}"

    def _key(self, target: Path) -> str:
        return os.path.relpath(target, self._root.parent)

    def _add(self, target: Path) -> None:
        key = self._key(target)
        if key not in self.found:
            self.found[key] = {}  # entered first, so that files that refer to one another end
            document = _read_object(target, self._option)
            kept = {word: item for word, item in document.items() if word not in ("$id", "$schema")}
            self.found[key] = self.rewritten(kept, target)


def _read_object(path: Path, option: str) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise OptionProblem(option, f"{path} can't be read: {reason}", "Correct the path") from error
    except (ValueError, RecursionError) as error:
        raise OptionProblem(option, f"{path} is not JSON: {error}", "Correct the file") from error
    if not isinstance(document, dict):
        raise OptionProblem(option, f"{path} is not a JSON schema", "Write a JSON object")
    return document


def _no_type(path: Path, software_type: str, types: Mapping[str, Any], option: str) -> OptionProblem:
    return OptionProblem(
        option, f"{path} has no schema for software type '{software_type}'", nearest(software_type, tuple(types))
    )
