# SPDX-License-Identifier: Apache-2.0
"""One codec for all messages: frozen dataclasses to JSON and back, strictly, and the JSON schema of each.

A message class is made by :func:`message`; its JSON carries ``format``, and a document whose format is not known is
refused. Field types that messages use: ``str int float bool None``, ``Secret``, ``StrEnum``, other frozen dataclasses,
``tuple[T, ...]``, ``Mapping[str, T]``, ``T | None`` and ``Json`` (any JSON value, secrets inside allowed).
"""

import dataclasses
import enum
import functools
import json
import math
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from allotment import __version__
from allotment.errors import MessageError, UnknownFormatError, nearest
from allotment.secret import KEY, Secret, unwrap, wrap

Json = Any  # a JSON value: None, bool, int, float, str, list or dict with string keys
T = TypeVar("T")
SCHEMAS = Path(__file__).parent / "schemas"
_PLAIN = frozenset({str, int, float, bool, type(None)})  # most of what a message holds: JSON as it is
_SAFE_INTEGER = 2**53  # JSON numbers beyond it lose digits in other languages
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)  # one that never ends is left in one step, not tried again
_BRACKET = re.compile(rb"[\[{\]}]")
_messages: dict[str, type] = {}


def message(name: str, *, format: int) -> Callable[[type[T]], type[T]]:
    """Class decorator: make a frozen dataclass a top-level message called ``name`` that is written as ``format``."""

    def register(cls: type[T]) -> type[T]:
        cls.message_name = name  # type: ignore[attr-defined]  # read back by encode and decode
        cls.message_format = format  # type: ignore[attr-defined]
        _messages[name] = cls
        return cls

    return register


def messages() -> Mapping[str, type]:
    """Return every message class by name: core's own, and those of other packages that have been imported."""
    import importlib
    import pkgutil

    import allotment.messages as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return types.MappingProxyType(_messages)


def encode(value: Any, *, redacted: bool = False) -> Any:
    """Return ``value`` (a message, or any type that messages use) as plain JSON data.

    Secrets become ``{"$secret": "..."}``, or ``<secret>`` when ``redacted``: what is shown is always redacted.
    """
    if type(value) in _PLAIN:
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        data: dict[str, Any] = {}
        known = getattr(type(value), "message_format", None)
        if known is not None:
            data["format"] = known
        for name in _names(type(value)):
            data[name] = encode(getattr(value, name), redacted=redacted)
        return data
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Secret):
        return unwrap(value, redacted=redacted)
    if isinstance(value, Mapping):
        return {key: encode(item, redacted=redacted) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item, redacted=redacted) for item in value]
    return value


def canonical(data: Any) -> bytes:
    """Return JSON data as canonical bytes: sorted keys, no spaces, UTF-8, no NaN. Equal data gives equal bytes."""
    try:
        return _utf8(data)
    except UnicodeEncodeError as error:
        place = next(_unwritable(data, ""), "").lstrip(".") or "the text"
        raise MessageError(
            f"{place} has half of a surrogate pair in it, which no file can hold", "Take it out"
        ) from error


def _utf8(data: Any) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _unwritable(data: Any, place: str) -> Iterator[str]:
    """Yield the places of texts that UTF-8 can't hold."""
    if isinstance(data, str) and data.encode(errors="ignore").decode() != data:
        yield place
    elif isinstance(data, dict):
        for key, item in data.items():
            name = f"{place}.{ascii(key)[1:-1]}"
            yield from _unwritable(key, name)
            yield from _unwritable(item, name)
    elif isinstance(data, list | tuple):
        for index, item in enumerate(data):
            yield from _unwritable(item, f"{place}[{index}]")


def dumps(value: Any, *, redacted: bool = False) -> bytes:
    """Return a message as canonical JSON bytes."""
    return canonical(encode(value, redacted=redacted))


def loads(cls: type[T], data: bytes | str, where: str = "") -> T:
    """Parse the JSON text of a message; ``where`` (a file, a URL) opens each error text."""
    try:
        text = data if isinstance(data, str) else data.decode()
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
        if "\\u" in text:
            _utf8(value)  # refuses what UTF-8 can't hold: half of a surrogate pair
    except (ValueError, RecursionError) as error:
        raise MessageError(f"{_place(cls, where)} is not JSON: {error}", "Write a JSON object") from error
    return decode(cls, value, where)


def nesting(data: bytes) -> int:
    """Return how deep lists and objects are nested in JSON text: to be asked before what strangers wrote is parsed."""
    deepest = depth = 0
    for bracket in _BRACKET.finditer(_TEXT.sub(b"", data)):
        depth += 1 if bracket[0] in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def decode(cls: type[T], data: Any, where: str = "") -> T:
    """Return JSON data as an object of ``cls``; a wrong type, a missing or an unknown field is refused."""
    place = _place(cls, where)
    try:
        return typing.cast(T, _decode(cls, data, place))
    except RecursionError as error:
        raise MessageError(f"{place} is nested too deeply", "Write it flatter") from error


def schema(cls: type) -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of a message class; the committed files are made from it."""
    definitions: dict[str, Any] = {}
    body = _object_schema(cls, definitions)
    name = getattr(cls, "message_name", cls.__name__)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name}
    return {**head, **body, **({"$defs": dict(sorted(definitions.items()))} if definitions else {})}


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is beyond what JSON numbers hold")
    return number


def _place(cls: type, where: str) -> str:
    name = getattr(cls, "message_name", cls.__name__)
    return f"{where}: {name}" if where else name


def _kind(data: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(data), "a number")


@functools.cache
def _names(cls: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls))


@functools.cache
def _fields(cls: type) -> dict[str, tuple[Any, bool]]:
    """Map each field to its resolved type and whether it is required."""
    hints = typing.get_type_hints(cls)
    missing = dataclasses.MISSING
    return {
        field.name: (hints[field.name], field.default is missing and field.default_factory is missing)
        for field in dataclasses.fields(cls)
    }


def _decode(kind: Any, data: Any, place: str) -> Any:
    origin = typing.get_origin(kind)
    if kind is Any:
        return wrap(data)
    if origin in (typing.Union, types.UnionType):
        options = typing.get_args(kind)
        if data is None and type(None) in options:
            return None
        (option,) = [item for item in options if item is not type(None)]
        return _decode(option, data, place)
    if origin is tuple:
        if not isinstance(data, list | tuple):
            raise MessageError(f"{place} is {_kind(data)}, not a list", "Write a JSON list")
        item = typing.get_args(kind)[0]
        return tuple(_decode(item, value, f"{place}[{index}]") for index, value in enumerate(data))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(data, Mapping):
            raise MessageError(f"{place} is {_kind(data)}, not an object", "Write a JSON object")
        item = typing.get_args(kind)[1]
        return {key: _decode(item, value, f"{place}.{key}") for key, value in data.items()}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _decode_object(kind, data, place)
    return _decode_scalar(kind, data, place)


def _decode_object(cls: type, data: Any, place: str) -> Any:
    if not isinstance(data, Mapping):
        raise MessageError(f"{place} is {_kind(data)}, not an object", "Write a JSON object")
    if hasattr(cls, "message_format"):  # also inside another message: a lease holds a whole job
        _check_format(cls.message_format, data.get("format"), place)
        data = {key: item for key, item in data.items() if key != "format"}
    fields = _fields(cls)
    for key in data:
        if key not in fields:
            raise MessageError(f"{place} has an unknown field '{key}'", nearest(str(key), tuple(fields)))
    missing = [name for name, (_, required) in fields.items() if required and name not in data]
    if missing:
        raise MessageError(f"{place} lacks the field '{missing[0]}'", f"Add {missing[0]}")
    values = {key: _decode(fields[key][0], value, f"{place}.{key}") for key, value in data.items()}
    try:
        return cls(**values)
    except ValueError as error:
        raise MessageError(f"{place}: {error}") from error


def _check_format(known: int, found: Any, place: str) -> None:
    if found is None:
        raise UnknownFormatError(f"{place} has no format", f'Add "format": {known}')
    if type(found) is not int or found != known:  # neither true nor 1.0
        raise UnknownFormatError(
            f"{place} has format {found!r}; allotment {__version__} reads format {known}",
            "Read it with the allotment version that wrote it, or a later one",
        )


def _decode_scalar(kind: Any, data: Any, place: str) -> Any:
    if kind is Secret:
        if isinstance(data, Mapping) and set(data) == {KEY} and isinstance(data[KEY], str):
            return Secret(data[KEY])
        raise MessageError(f"{place} is not a secret", f'Write {{"{KEY}": "value"}}')
    if isinstance(kind, type) and issubclass(kind, enum.StrEnum):
        values = [item.value for item in kind]
        if data not in values:
            raise MessageError(f"{place} is {data!r}", nearest(str(data), values))
        return kind(data)
    accepted: dict[Any, tuple[type, ...]] = {str: (str,), bool: (bool,), int: (int,), float: (int, float)}
    if isinstance(data, float) and not math.isfinite(data):
        raise MessageError(f"{place} is {data}, which JSON can't hold", f"Write {_NAMES[kind]}")
    is_accepted = isinstance(data, accepted[kind]) and (kind is bool or not isinstance(data, bool))
    if not is_accepted:
        raise MessageError(f"{place} is {_kind(data)}, not {_NAMES[kind]}", f"Write {_NAMES[kind]}")
    if kind is int and abs(data) > _SAFE_INTEGER:
        raise MessageError(f"{place} is {data}, beyond what JSON numbers hold exactly", f"Stay within {_SAFE_INTEGER}")
    if kind is float:
        try:
            return float(data)
        except OverflowError as error:
            raise MessageError(f"{place} is beyond what JSON numbers hold", "Write a smaller number") from error
    return data


_NAMES = {str: "a string", bool: "a boolean", int: "a whole number", float: "a number"}


def _object_schema(cls: type, definitions: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required: list[str] = []
    known = getattr(cls, "message_format", None)
    if known is not None:
        properties["format"] = {"const": known}
        required.append("format")
    for name, (kind, is_required) in _fields(cls).items():
        properties[name] = _schema(kind, definitions)
        if is_required:
            required.append(name)
    text = (cls.__doc__ or "").strip().split("\n")[0]
    return {
        "description": text,
        "type": "object",
        "properties": properties,
        "required": sorted(required),
        "additionalProperties": False,
    }


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin = typing.get_origin(kind)
    if kind is Any:
        return {}
    if origin in (typing.Union, types.UnionType):
        (option,) = [item for item in typing.get_args(kind) if item is not type(None)]
        return {"anyOf": [_schema(option, definitions), {"type": "null"}]}
    if origin is tuple:
        return {"type": "array", "items": _schema(typing.get_args(kind)[0], definitions)}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema(typing.get_args(kind)[1], definitions)}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if kind.__name__ not in definitions:
            definitions[kind.__name__] = {}  # entered first, so that a type that holds itself ends
            definitions[kind.__name__] = _object_schema(kind, definitions)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    if kind is Secret:
        return {
            "type": "object",
            "properties": {KEY: {"type": "string"}},
            "required": [KEY],
            "additionalProperties": False,
            "writeOnly": True,
        }
    if isinstance(kind, type) and issubclass(kind, enum.StrEnum):
        return {"type": "string", "enum": [item.value for item in kind]}
    if kind is int:
        return {"type": "integer", "minimum": -_SAFE_INTEGER, "maximum": _SAFE_INTEGER}
    return {"type": {str: "string", bool: "boolean", float: "number"}[kind]}
