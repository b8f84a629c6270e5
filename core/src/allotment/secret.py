# SPDX-License-Identifier: Apache-2.0
"""Secrets are a type: a value that no log, listing, traceback or page shows unless it is asked for by name."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

REDACTED: Final = "<secret>"
_LONGEST_TOKEN: Final = 4096  # bytes
KEY: Final = "$secret"  # a secret inside JSON is the object {"$secret": "the value"}


class Secret:
    """A string that prints as ``<secret>`` everywhere; ``reveal()`` is the one way to its value.

    It is not a ``str``: formatting, joining or ``json.dumps`` can't leak it by accident.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value; call it only where the value is used, never to show it."""
        return self._value

    def __repr__(self) -> str:
        return REDACTED

    def __str__(self) -> str:
        return REDACTED

    def __format__(self, spec: str) -> str:
        return REDACTED

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((KEY, self._value))

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: object) -> "Secret":
        return self  # immutable; dataclasses.asdict copies what it meets

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled: send it as JSON in a message that may hold it")


def read_token(path: Path, fix: str = "Give the file that 'allot master token' wrote") -> Secret:
    """Return the token that a file holds; ``fix`` says which file it should be."""
    from allotment.errors import AllotmentError

    try:
        with path.open() as file:
            text = file.read(_LONGEST_TOKEN + 1).strip()
    except OSError as error:
        raise AllotmentError(f"token file {path} can't be read: {error.strerror}", fix) from error
    except UnicodeDecodeError:
        text = ""
    if not text or len(text) > _LONGEST_TOKEN or not text.isascii() or not text.isprintable():
        raise AllotmentError(f"token file {path} holds no token", fix)
    return Secret(text)


def wrap(value: Any) -> Any:
    """Return JSON data with each ``{"$secret": "..."}`` object replaced by a :class:`Secret`."""
    if isinstance(value, Mapping):
        if len(value) == 1 and isinstance(value.get(KEY), str):
            return Secret(value[KEY])
        return {key: wrap(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [wrap(item) for item in value]
    return value


def unwrap(value: Any, *, redacted: bool) -> Any:
    """Return plain JSON data: a :class:`Secret` becomes ``{"$secret": "..."}``, or ``<secret>`` when ``redacted``."""
    if isinstance(value, Secret):
        return REDACTED if redacted else {KEY: value.reveal()}
    if isinstance(value, Mapping):
        return {key: unwrap(item, redacted=redacted) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [unwrap(item, redacted=redacted) for item in value]
    return value


def revealed(value: Any) -> Any:
    """Return JSON data with the secrets' plain values in place: for the program that uses them, never to show them."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Mapping):
        return {key: revealed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [revealed(item) for item in value]
    return value


def find(value: Any) -> set[str]:
    """Return the plain values of all secrets inside ``value``; use it to build a :func:`scrub` list."""
    if isinstance(value, Secret):
        return {value.reveal()}
    if isinstance(value, Mapping):
        return set().union(*(find(item) for item in value.values())) if value else set()
    if isinstance(value, list | tuple):
        return set().union(*(find(item) for item in value)) if value else set()
    return set()


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Return ``text`` with each of the plain ``secrets`` replaced by ``<secret>``; longer ones first.

    For what other programs print (build output, service logs). Secrets under 4 characters are not looked for:
    they would blank out ordinary text.
    """
    for value in sorted(secrets, key=len, reverse=True):
        if len(value) >= 4:
            text = text.replace(value, REDACTED)
    return text


def mark(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return parameters with each text whose JSON schema says ``"writeOnly": true`` wrapped as a :class:`Secret`.

    Looks through objects, lists, ``$ref`` inside the document (by path or ``$anchor``) and every branch of ``allOf``,
    ``anyOf``, ``oneOf``, ``if``, ``dependentSchemas``: a text that any branch calls a secret is one. A ``writeOnly``
    object or list makes all texts inside secrets.
    """
    return _mark(wrap(value), schema, schema, ())


def _mark(value: Any, schema: Any, root: Mapping[str, Any], following: tuple[str, ...]) -> Any:
    if not isinstance(schema, Mapping) or value is None or isinstance(value, Secret):
        return value
    if schema.get("writeOnly") is True:
        return _hide(value)
    for reference in (schema.get("$ref"), schema.get("$dynamicRef")):
        if isinstance(reference, str) and reference.startswith("#") and reference not in following:
            value = _mark(value, resolve(reference, root), root, (*following, reference))
    for branch in _branches(schema):
        value = _mark(value, branch, root, following)
    if isinstance(value, dict):
        return {key: _mark_property(key, item, schema, root) for key, item in value.items()}
    if isinstance(value, list):
        first = schema.get("prefixItems")
        fixed = first if isinstance(first, list) else []
        rest = schema.get("items", schema.get("unevaluatedItems"))
        return [_mark(item, fixed[at] if at < len(fixed) else rest, root, ()) for at, item in enumerate(value)]
    return value


def _mark_property(key: str, value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    properties = schema.get("properties")
    patterns = schema.get("patternProperties")
    found = [properties[key]] if isinstance(properties, Mapping) and key in properties else []
    if isinstance(patterns, Mapping):
        found += [item for pattern, item in patterns.items() if re.search(pattern, key)]
    for item in found or [schema.get("additionalProperties"), schema.get("unevaluatedProperties")]:
        value = _mark(value, item, root, ())
    return value


def _hide(value: Any) -> Any:
    if isinstance(value, str):
        return Secret(value)
    if isinstance(value, dict):
        return {key: _hide(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_hide(item) for item in value]
    return value


def _branches(schema: Mapping[str, Any]) -> Iterator[Any]:
    for word in ("allOf", "anyOf", "oneOf"):
        branches = schema.get(word)
        if isinstance(branches, list):
            yield from branches
    for word in ("if", "then", "else"):
        yield schema.get(word)
    dependent = schema.get("dependentSchemas")
    if isinstance(dependent, Mapping):
        yield from dependent.values()


def resolve(reference: str, root: Mapping[str, Any]) -> Any:
    """Return what ``#``, ``#/path`` or ``#anchor`` in the JSON schema ``root`` refers to; None when it is not there."""
    if not reference.startswith("#/"):
        return _anchored(reference[1:], root) if len(reference) > 1 else root
    target: Any = root
    for step in unquote(reference[1:]).split("/")[1:]:
        target = target.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(target, Mapping) else None
    return target


def _anchored(name: str, schema: Any) -> Any:
    if isinstance(schema, Mapping):
        if name in (schema.get("$anchor"), schema.get("$dynamicAnchor")):
            return schema
        schema = list(schema.values())
    inner = schema if isinstance(schema, list) else ()
    return next((found for item in inner if (found := _anchored(name, item)) is not None), None)
