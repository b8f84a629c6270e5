# SPDX-License-Identifier: Apache-2.0
"""Secrets are a type: a value that no log, listing, traceback or page shows unless it is asked for by name."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

REDACTED: Final = "<secret>"
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

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled: send it as JSON in a message that may hold it")


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
    """Return parameters with each value whose JSON schema says ``"writeOnly": true`` wrapped as a :class:`Secret`.

    Looks through ``properties``, ``additionalProperties``, ``items`` and ``$ref`` inside the document.
    """
    return _mark(wrap(value), schema, schema)


def _mark(value: Any, schema: Any, root: Mapping[str, Any]) -> Any:
    if not isinstance(schema, Mapping):
        return value
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        target: Any = root
        for step in reference[2:].split("/"):
            target = target.get(step, {}) if isinstance(target, Mapping) else {}
        return _mark(value, target, root)
    if schema.get("writeOnly") is True and isinstance(value, str):
        return Secret(value)
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        rest = schema.get("additionalProperties")
        return {key: _mark(item, properties.get(key, rest), root) for key, item in value.items()}
    if isinstance(value, list):
        return [_mark(item, schema.get("items"), root) for item in value]
    return value
