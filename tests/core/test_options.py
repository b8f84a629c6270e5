# SPDX-License-Identifier: Apache-2.0
import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from allotment.options import (
    Arguments,
    Lines,
    Mode,
    OptionDescription,
    OptionProblem,
    Words,
    check_given_together,
    check_one_given,
    describe_options,
    options_of,
    parse_options,
    rest,
    schema_of_options,
)
from allotment.secret import Secret


class Colour(enum.StrEnum):
    RED = "red"
    GREEN = "green"


@dataclass(frozen=True)
class Everything:
    text: str  # any text
    count: int = 3
    ratio: float = 0.5  # between 0 and 1
    is_on: bool = False
    path: Path = Path("out")  # relative to the partition
    mode: Mode = Mode(0o644)
    token: Secret | None = None
    lines: Lines = Lines(())
    words: Words = Words(("a", "b"))
    command: Arguments | None = None
    colour: Colour = Colour.RED
    level: Literal["low", "high"] = "low"  # how much
    import_: str = ""
    more: dict[str, str] = rest("more-")  # others


@dataclass(frozen=True)
class Sectioned:
    path: Path  # where
    mode: Mode = Mode(0o644)  # permissions
    count: int | None = None  # how many
    kind: Literal["a", "b"] = "a"  # which
    config: dict[str, str] = rest("config-")  # others


@dataclass(frozen=True)
class Wrapping:
    inner: dict[str, Any] = rest("inner-")  # passed on


@dataclass(frozen=True)
class Pair:
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")


@dataclass(frozen=True)
class Listener:
    host: str = ""
    unix_socket: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def __post_init__(self) -> None:
        check_one_given(host=self.host, unix_socket=self.unix_socket)
        check_given_together(cert_file=self.cert_file, key_file=self.key_file)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"host": "h"}, ""),
        ({"unix-socket": "s", "cert-file": "c", "key-file": "k"}, ""),
        ({}, "host, unix-socket: none of them is given. Give one of them."),
        (
            {"host": "h", "unix-socket": "s"},
            "host, unix-socket: host and unix-socket can't go together. Give one of them.",
        ),
        ({"host": "h", "key-file": "k"}, "cert-file, key-file: cert-file is missing. Give all of them, or none."),
    ],
)
def test_options_that_need_one_another_are_named_with_a_fix(raw: dict[str, str], message: str) -> None:
    said = ""
    try:
        parse_options(Listener, raw)
    except OptionProblem as problem:
        said = str(problem)
    assert said == message


def _value(option: str, value: Any) -> Any:
    return getattr(parse_options(Everything, {"text": "x", option: value}), option.replace("-", "_"))


@pytest.mark.parametrize(
    ("option", "raw", "value"),
    [
        ("text", "a b", "a b"),
        ("text", 5, "5"),
        ("text", "", ""),
        ("count", "-8", -8),
        ("count", 8, 8),
        ("ratio", "2.5", 2.5),
        ("ratio", 1, 1.0),
        ("is-on", "Yes", True),
        ("is-on", "off", False),
        ("is-on", True, True),
        ("is-on", 1, True),
        ("path", "a/b", Path("a/b")),
        ("mode", "0600", 0o600),
        ("mode", "755", 0o755),
        ("mode", "0o755", 0o755),
        ("token", "word", Secret("word")),
        ("token", Secret("word"), Secret("word")),
        ("lines", "\n  a b \n\n c\n", ("a b", "c")),
        ("lines", ["a", 1], ("a", "1")),
        ("words", " a  b\nc ", ("a", "b", "c")),
        ("words", [], ()),
        ("command", "sh -c 'a  b' \"\"", ("sh", "-c", "a  b", "")),
        ("command", ["a b", ""], ("a b", "")),
        ("colour", "green", Colour.GREEN),
        ("level", "high", "high"),
    ],
)
def test_values_of_each_type(option: str, raw: Any, value: Any) -> None:
    found = _value(option, raw)
    assert found == value
    assert type(found) is type(value)


def test_defaults_stand_for_what_is_not_given() -> None:
    found = parse_options(Everything, {"text": "x"})
    assert found == Everything("x")
    assert found.token is None


def test_underscores_and_dashes_are_told_apart() -> None:
    assert parse_options(Everything, {"text": "x", "import": "y"}).import_ == "y"
    with pytest.raises(OptionProblem):
        parse_options(Everything, {"text": "x", "is_on": "true"})


def test_other_options_go_to_the_rest() -> None:
    assert parse_options(Everything, {"text": "x", "more-a": "1", "more-b": 2}).more == {"a": "1", "b": "2"}


def test_other_options_may_be_taken_as_they_are() -> None:
    raw = {"inner-words": ["a", "b"], "inner-token": Secret("planted"), "inner-count": 2}
    expected = {"words": ["a", "b"], "token": Secret("planted"), "count": 2}
    assert parse_options(Wrapping, raw).inner == expected


@pytest.mark.parametrize(
    ("option", "raw", "text"),
    [
        ("text", True, "text: True is not text. Write a string."),
        ("text", {"a": 1}, "text: {'a': 1} is not text. Write a string."),
        ("text", None, "text: None is not text. Write a string."),
        ("text", Secret("planted"), "text: holds a secret. Pass it to an option that takes secrets."),
        ("token", 5.5, None),
        ("token", ["x"], "token: ['x'] is not text. Write a string."),
        ("count", "many", "count: 'many' is not a whole number. Write it like 8080."),
        ("count", "1.0", "count: '1.0' is not a whole number. Write it like 8080."),
        ("count", 1.0, "count: 1.0 is not a whole number. Write it like 8080."),
        ("count", True, "count: True is not a whole number. Write it like 8080."),
        ("count", None, "count: None is not a whole number. Write it like 8080."),
        ("ratio", "half", "ratio: 'half' is not a number. Write it like 2.5."),
        ("ratio", "nan", "ratio: 'nan' is not a number. Write it like 2.5."),
        ("ratio", "1e999", "ratio: '1e999' is not a number. Write it like 2.5."),
        ("ratio", False, "ratio: False is not a number. Write it like 2.5."),
        ("is-on", "maybe", "is-on: 'maybe' is neither true nor false. Write true or false."),
        ("path", "", "path: is empty. Write a path."),
        ("path", "a\nb", "path: 'a\\nb' is not one line of text. Write a path."),
        ("path", Secret("planted"), "path: holds a secret. Pass it to an option that takes secrets."),
        ("mode", "rw", "mode: 'rw' is not an octal number. Write it like 0644."),
        ("mode", "888", "mode: '888' is not an octal number. Write it like 0644."),
        ("mode", "-1", "mode: '-1' is not a file's mode. Write it like 0644."),
        ("mode", "100000", "mode: '100000' is not a file's mode. Write it like 0644."),
        ("lines", 5.5, None),
        ("lines", [["x"]], "lines: ['x'] is not text. Write a string."),
        ("words", {"a": 1}, "words: {'a': 1} is not text. Write a string."),
        ("command", "", "command: is empty. Write a program and its arguments."),
        ("command", [""], "command: is empty. Write a program and its arguments."),
        ("path", "a\0b", "path: holds a NUL character. Take it out."),
        ("command", "a \0", "command: holds a NUL character. Take it out."),
        ("command", ["a", "\0"], "command: holds a NUL character. Take it out."),
        ("command", "'a", 'command: No closing quotation in "\'a". Close the quotation.'),
        ("command", [Secret("x")], "command: holds a secret. Pass it to an option that takes secrets."),
        ("colour", "gren", "colour: 'gren' is not one of its values. Did you mean 'green'? Valid: green, red."),
        ("level", "mid", "level: 'mid' is not one of its values. Valid: high, low."),
        ("level", Secret("planted"), "level: <secret> is not one of its values. Valid: high, low."),
        ("more-a", Secret("planted"), "more-a: holds a secret. Pass it to an option that takes secrets."),
        (
            "cuont",
            "1",
            "cuont: unknown option. Did you mean 'count'? Valid: colour, command, count, import, is-on, level, lines,"
            " mode, path, ratio, text, token, words.",
        ),
    ],
)
def test_wrong_value_names_option_problem_and_fix(option: str, raw: Any, text: str | None) -> None:
    if text is None:
        _value(option, raw)  # a number is fine as text
        return
    with pytest.raises(OptionProblem) as caught:
        _value(option, raw)
    assert str(caught.value) == text
    assert caught.value.option == option


def test_missing_option_is_named() -> None:
    with pytest.raises(OptionProblem) as caught:
        parse_options(Pair, {"low": "1"})
    assert str(caught.value) == "high: missing option. Add 'high = ...'."


def test_check_of_several_options_is_reported() -> None:
    with pytest.raises(OptionProblem) as caught:
        parse_options(Pair, {"low": "2", "high": "1"})
    assert str(caught.value) == "options: low 2 is above high 1."


def test_unsupported_field_type_is_a_bug_that_names_it() -> None:
    @dataclass(frozen=True)
    class Odd:
        when: complex = 0j

    with pytest.raises(TypeError, match="option when: fields of type <class 'complex'> are not supported"):
        parse_options(Odd, {"when": "1"})


def test_description_has_type_default_and_comment() -> None:
    described = {item.name: (item.type, item.default, item.doc) for item in describe_options(Everything)}
    assert described == {
        "text": ("text", None, "any text"),
        "count": ("whole number", "3", ""),
        "ratio": ("number", "0.5", "between 0 and 1"),
        "is-on": ("true or false", "false", ""),
        "path": ("path", "out", "relative to the partition"),
        "mode": ("octal mode", "0644", ""),
        "token": ("secret", "", ""),
        "lines": ("lines", "", ""),
        "words": ("words", "a b", ""),
        "command": ("command line", "", ""),
        "colour": ("red | green", "red", ""),
        "level": ("low | high", "low", "how much"),
        "import": ("text", "", ""),
        "more-*": ("text", "", "others"),
    }


def test_the_default_of_a_secret_is_described_without_it() -> None:
    @dataclass(frozen=True)
    class Login:
        password: Secret = Secret("")
        token: Secret = Secret("planted")

    assert [item.default for item in describe_options(Login)] == ["", "<secret>"]


def test_inherited_options_are_described_too() -> None:
    @dataclass(frozen=True)
    class Base:
        host: str  # where

    @dataclass(frozen=True)
    class Derived(Base):
        port: int = 80  # which

    assert [(item.name, item.doc) for item in describe_options(Derived)] == [("host", "where"), ("port", "which")]


def test_class_made_without_source_has_no_comments() -> None:
    space: dict[str, Any] = {}
    exec("from dataclasses import dataclass\n@dataclass\nclass Made:\n    text: str  # lost\n", space)
    assert [item.doc for item in describe_options(space["Made"])] == [""]


def test_the_schema_says_what_a_section_may_hold() -> None:
    assert schema_of_options(Sectioned) == {
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "where (path)"},
            "mode": {
                "type": "string",
                "description": "permissions (octal mode)",
                "pattern": r"^(0o)?[0-7]+$|\$\{",
                "default": "0644",
            },
            "count": {
                "type": "string",
                "description": "how many (whole number)",
                "pattern": r"^\s*[-+]?[0-9][0-9_]*\s*$|\$\{",
            },
            "kind": {
                "type": "string",
                "description": "which (a | b)",
                "anyOf": [{"enum": ["a", "b"]}, {"pattern": r"\$\{"}],
                "default": "a",
            },
        },
        "required": ["path"],
        "patternProperties": {"^config-": {"type": "string"}},
        "additionalProperties": False,
    }


def test_options_are_those_of_the_class_or_of_its_module() -> None:
    class Typed:
        options_class = Sectioned

    assert options_of(Typed) is Sectioned
    assert options_of(OptionDescription) is None
