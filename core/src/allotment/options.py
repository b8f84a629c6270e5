# SPDX-License-Identifier: Apache-2.0
"""Options of recipes and promises: one dataclass gives parsing, defaults, errors and the reference page.

A field's name is the option's with ``_`` for ``-``; its trailing comment is its documentation. Field types: ``str``,
``int``, ``float``, ``bool``, ``Path``, ``Mode``, ``Secret``, ``Lines``, ``Words``, ``Arguments``, ``StrEnum``,
``Literal[...]``, ``T | None`` and, at most once and last, ``dict[str, str]`` (texts) or ``dict[str, Any]`` (whatever is
given, secrets too) made by :func:`rest` for the options that have no field.
"""

import dataclasses
import enum
import functools
import inspect
import re
import shlex
import tokenize
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any, Literal, NewType, TypeVar

from allotment.errors import AllotmentError, nearest
from allotment.secret import Secret

Mode = NewType("Mode", int)  # permissions of a file, written in octal
Lines = NewType("Lines", tuple[str, ...])  # one item a line, blank lines dropped
Words = NewType("Words", tuple[str, ...])  # items parted by white space
Arguments = NewType("Arguments", tuple[str, ...])  # a program and its arguments: a list, or text quoted as in a shell
T = TypeVar("T")


class OptionProblem(AllotmentError):
    """An option is missing, unknown or wrong; whoever knows the section or file names it in a new error.

    A dataclass of options raises it in ``__post_init__`` too. When several options are meant, commas part their names.
    """

    def __init__(self, option: str, problem: str, fix: str) -> None:
        super().__init__(f"{option}: {problem}", fix)
        self.option = option
        self.problem = problem


@dataclasses.dataclass(frozen=True)
class OptionDescription:
    """What ``allot plugins`` and the reference pages say of one option."""

    name: str
    type: str
    default: str | None  # None: required
    doc: str


def rest(prefix: str = "") -> Any:
    """Field default for a dict: takes each option that has no field of its own and starts with ``prefix``.

    The prefix is cut from the keys; with an empty prefix the section accepts any option.
    """
    return dataclasses.field(default_factory=dict, metadata={"rest": prefix})


def check_one_given(**options: object) -> None:
    """Raise unless exactly one of these options, called as their fields, has a value: for ``__post_init__``."""
    given = [option_name(name) for name, value in options.items() if value]
    if not given:
        raise OptionProblem(_names(options), "none of them is given", "Give one of them")
    if len(given) > 1:
        raise OptionProblem(_names(options), f"{' and '.join(given)} can't go together", "Give one of them")


def check_given_together(**options: object) -> None:
    """Raise when some of these options, called as their fields, have a value and some have none."""
    missing = [option_name(name) for name, value in options.items() if not value]
    if missing and len(missing) < len(options):
        raise OptionProblem(_names(options), f"{' and '.join(missing)} is missing", "Give all of them, or none")


def _names(options: Iterable[str]) -> str:
    return ", ".join(map(option_name, options))


def option_name(field_name: str) -> str:
    """Return the option's name in a profile for a field's name in Python."""
    return field_name.strip("_").replace("_", "-")


@functools.cache
def option_names(cls: type) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return the names of the options that have a field, and what begins those that have none."""
    named, remainder = _split(cls)
    return frozenset(named), () if remainder is None else (remainder.metadata["rest"],)


def parse_options(cls: type[T], raw: Mapping[str, Any]) -> T:
    """Return ``raw`` (strings of a profile, or JSON values) as ``cls``; the first problem is raised."""
    kind = typing.cast(type, cls)
    fields, remainder = _split(kind)
    hints = _hints(kind)
    values: dict[str, Any] = {}
    for name, value in raw.items():
        field = fields.get(name)
        if field is not None:
            values[field.name] = _parse(hints[field.name], value, name)
        elif remainder is not None and name.startswith(remainder.metadata["rest"]):
            key = name[len(remainder.metadata["rest"]) :]
            is_text = hints[remainder.name] == dict[str, str]
            values.setdefault(remainder.name, {})[key] = _text(value, name) if is_text else value
        else:
            raise OptionProblem(name, "unknown option", nearest(name, tuple(fields)))
    for name, field in fields.items():
        if _is_required(field) and field.name not in values:
            raise OptionProblem(name, "missing option", f"Add '{name} = ...'")
    try:
        return cls(**values)
    except ValueError as error:  # raised in __post_init__ in place of an OptionProblem, which names option and fix
        raise OptionProblem("options", str(error), "") from error


def options_of(target: Any) -> type | None:
    """Return the options of a recipe or promise type, of its class or its module; None when it states none."""
    module = inspect.getmodule(target)
    found: type | None = getattr(target, "options_class", None) or getattr(module, "Options", None)
    return found


def describe_options(cls: type) -> tuple[OptionDescription, ...]:
    """Return what each option of ``cls`` is, in order."""
    docs = _comments(cls)
    hints = _hints(cls)
    found = []
    for field in dataclasses.fields(cls):
        if "rest" in field.metadata:
            prefix = field.metadata["rest"]
            found.append(OptionDescription(f"{prefix}*", "text", "", docs.get(field.name, "")))
            continue
        default = None if _is_required(field) else _show(field, hints[field.name])
        found.append(
            OptionDescription(option_name(field.name), _type_name(hints[field.name]), default, docs.get(field.name, ""))
        )
    return tuple(found)


def schema_of_options(cls: type) -> dict[str, Any]:
    """Return the JSON schema of a section's options, which are texts there, for editors.

    It is that of a section whose macros are merged; variables that a section has for itself are not known to it.
    """
    hints = _hints(cls)
    named, remainder = _split(cls)
    properties: dict[str, Any] = {}
    required = []
    for option in describe_options(cls):
        field = named.get(option.name)
        if field is None:
            continue
        described = {"type": "string", "description": f"{option.doc} ({option.type})", **_limits(hints[field.name])}
        if option.default is None:
            required.append(option.name)
        elif option.default:
            described["default"] = option.default
        properties[option.name] = described
    schema: dict[str, Any] = {"type": "object", "properties": properties, "required": required}
    if remainder is None:
        schema["additionalProperties"] = False
    elif remainder.metadata["rest"]:
        prefix = re.sub(
            r"([.^$*+?()\[\]{}|\\/])", r"\\\1", remainder.metadata["rest"]
        )  # re.escape does more than JSON allows
        schema["patternProperties"] = {f"^{prefix}": {"type": "string"}}
        schema["additionalProperties"] = False
    return schema


def _limits(kind: Any) -> dict[str, Any]:
    """Return what a schema can say of a text that is to be ``kind``; references make any text possible."""
    kind = _optional(kind)
    reference = r"\$\{"
    if typing.get_origin(kind) is Literal:
        words = [str(item) for item in typing.get_args(kind)]
    elif isinstance(kind, type) and issubclass(kind, enum.StrEnum):
        words = [item.value for item in kind]
    elif kind is bool:
        words = ["true", "false", "yes", "no", "on", "off", "1", "0"]
    else:
        patterns = {int: r"^\s*[-+]?[0-9][0-9_]*\s*$", Mode: "^(0o)?[0-7]+$"}
        return {"pattern": f"{patterns[kind]}|{reference}"} if kind in patterns else {}
    return {"anyOf": [{"enum": words}, {"pattern": reference}]}


@functools.cache
def _split(cls: "type[Any]") -> tuple[dict[str, "dataclasses.Field[Any]"], "dataclasses.Field[Any] | None"]:
    named = {}
    remainder = None
    for field in dataclasses.fields(cls):
        if "rest" in field.metadata:
            remainder = field
        else:
            named[option_name(field.name)] = field
    return named, remainder


@functools.cache
def _hints(cls: "type[Any]") -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _is_required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


@functools.cache
def _optional(kind: Any) -> Any:
    """Return T for ``T | None``."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        (kind,) = [item for item in typing.get_args(kind) if item is not type(None)]
    return kind


def _parse(kind: Any, value: Any, name: str) -> Any:
    kind = _optional(kind)
    parse = _PARSERS.get(kind)
    if parse is not None:
        return parse(value, name)
    if typing.get_origin(kind) is Literal:
        return _one_of(value, typing.get_args(kind), name)
    if isinstance(kind, type) and issubclass(kind, enum.StrEnum):
        return kind(_one_of(value, [item.value for item in kind], name))
    if kind is Secret:
        return value if isinstance(value, Secret) else Secret(_text(value, name))
    raise TypeError(f"option {name}: fields of type {kind!r} are not supported")


def _one_of(value: Any, valid: Iterable[Any], name: str) -> Any:
    choices = [str(item) for item in valid]
    if value not in choices:
        raise OptionProblem(name, f"{value!r} is not one of its values", nearest(str(value), choices))
    return value


def _text(value: Any, name: str) -> str:
    if isinstance(value, Secret):
        raise OptionProblem(name, "holds a secret", "Pass it to an option that takes secrets")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise OptionProblem(name, f"{value!r} is not text", "Write a string")
    return str(value)


def _whole(value: Any, name: str) -> int:
    try:
        if isinstance(value, bool | float):
            raise ValueError
        return int(value)
    except (TypeError, ValueError):
        raise OptionProblem(name, f"{value!r} is not a whole number", "Write it like 8080") from None


def _number(value: Any, name: str) -> float:
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
        if number != number or number in (float("inf"), float("-inf")):
            raise ValueError
        return number
    except (TypeError, ValueError):
        raise OptionProblem(name, f"{value!r} is not a number", "Write it like 2.5") from None


def _boolean(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    found = words.get(str(value).strip().lower())
    if found is None:
        raise OptionProblem(name, f"{value!r} is neither true nor false", "Write true or false")
    return found


def _mode(value: Any, name: str) -> Mode:
    try:
        mode = int(str(value), 8)
    except ValueError:
        raise OptionProblem(name, f"{value!r} is not an octal number", "Write it like 0644") from None
    if not 0 <= mode <= 0o7777:
        raise OptionProblem(name, f"{value!r} is not a file's mode", "Write it like 0644")
    return Mode(mode)


def _path(value: Any, name: str) -> Path:
    text = _argument(value, name)
    if not text:
        raise OptionProblem(name, "is empty", "Write a path")
    if "\n" in text:  # it may go to a file of which each line counts
        raise OptionProblem(name, f"{text!r} is not one line of text", "Write a path")
    return Path(text)


def _argument(value: Any, name: str) -> str:
    """Return a text that can be a path or a program's argument."""
    text = _text(value, name)
    if "\0" in text:
        raise OptionProblem(name, "holds a NUL character", "Take it out")
    return text


def _items(value: Any, name: str, split: Callable[[str], list[str]]) -> tuple[str, ...]:
    if isinstance(value, list | tuple):
        return tuple(_argument(item, name) for item in value)
    return tuple(item.strip() for item in split(_argument(value, name)) if item.strip())


def _arguments(value: Any, name: str) -> tuple[str, ...]:
    if isinstance(value, list | tuple):
        found = [_argument(item, name) for item in value]
    else:
        try:
            found = shlex.split(_argument(value, name))
        except ValueError as error:
            raise OptionProblem(name, f"{error} in {value!r}", "Close the quotation") from None
    if not found or not found[0]:
        raise OptionProblem(name, "is empty", "Write a program and its arguments")
    return tuple(found)


_PARSERS: dict[Any, Callable[[Any, str], Any]] = {
    str: _text,
    int: _whole,
    float: _number,
    bool: _boolean,
    Mode: _mode,
    Path: _path,
    Lines: lambda value, name: _items(value, name, str.splitlines),
    Words: lambda value, name: _items(value, name, str.split),
    Arguments: _arguments,
}


def _type_name(kind: Any) -> str:
    kind = _optional(kind)
    if typing.get_origin(kind) is Literal:
        return " | ".join(str(item) for item in typing.get_args(kind))
    if isinstance(kind, type) and issubclass(kind, enum.StrEnum):
        return " | ".join(item.value for item in kind)
    names: dict[Any, str] = {
        str: "text",
        int: "whole number",
        float: "number",
        bool: "true or false",
        Mode: "octal mode",
        Path: "path",
        Lines: "lines",
        Words: "words",
        Arguments: "command line",
        Secret: "secret",
    }
    return names[kind]


def _show(field: "dataclasses.Field[Any]", kind: Any) -> str:
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    else:
        default = field.default
    kind = _optional(kind)
    if default is None or default == Secret(""):
        return ""
    if kind is Mode:
        return f"{default:04o}"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return " ".join(default)
    return str(default)


def _comments(cls: type) -> dict[str, str]:
    """Map each field to the comment that ends its line in the source; empty where the source is away."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        try:
            source = inspect.getsource(base)
        except (OSError, TypeError):
            continue
        name = ""
        for token in tokenize.generate_tokens(StringIO(inspect.cleandoc(source) + "\n").readline):
            if token.type == tokenize.NAME and not token.line[: token.start[1]].strip():
                name = token.string
            elif token.type == tokenize.COMMENT and name and token.line[: token.start[1]].strip():
                found[name] = token.string.lstrip("# ").strip()
    return found
