# SPDX-License-Identifier: Apache-2.0
import copy
import dataclasses
import json
import logging
import pickle
import pprint
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from allotment.codec import dumps
from allotment.errors import AllotmentError
from allotment.messages.instance import InstanceInput, InstanceState
from allotment.secret import REDACTED, Secret, find, mark, read_token, revealed, scrub, unwrap, wrap

PLANTED = "correct-horse-battery"


@dataclass(frozen=True)
class _Holder:
    token: Secret
    name: str = "x"


def test_no_way_of_showing_shows_the_value(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(PLANTED)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").info("token %s %r", secret, secret)
        logging.getLogger("test").info("holder %s", _Holder(secret))
    try:
        raise AllotmentError(f"wrong token {secret}", f"Not {secret!r}")
    except AllotmentError:
        trace = traceback.format_exc()
    shown = [
        *(str(secret), repr(secret), f"{secret}", f"{secret!r}", f"{secret:>40}", f"{secret!s:.3}"),
        *("%s %r".__mod__((secret, secret)), pprint.pformat({"a": [secret]}), str({"a": secret}), ascii(secret)),
        *(str(_Holder(secret)), str(dataclasses.asdict(_Holder(secret))), caplog.text, trace),
        *(dumps(_input(secret), redacted=True).decode(), str(_input(secret))),
    ]
    for text in shown:
        assert PLANTED not in text
    assert caplog.text.count(REDACTED) == 3


def _input(secret: Secret) -> InstanceInput:
    state = InstanceState.STARTED
    parameters = {"deep": [{"token": secret}]}
    return InstanceInput("i", "n", "t", "node", "part0", state, "default", "m", (), parameters=parameters)


def test_secret_is_no_text() -> None:
    secret: Any = Secret(PLANTED)
    for attempt in (
        lambda: json.dumps({"token": secret}),
        lambda: "".join([secret]),
        lambda: "token " + secret,
        lambda: secret[0],
        lambda: list(secret),
        lambda: secret.encode(),
    ):
        with pytest.raises((TypeError, AttributeError)) as caught:
            attempt()
        assert PLANTED not in str(caught.value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_is_refused(protocol: int) -> None:
    with pytest.raises(TypeError, match="a secret is not pickled"):
        pickle.dumps(_Holder(Secret(PLANTED)), protocol)


def test_secret_has_no_attributes_to_look_at() -> None:
    with pytest.raises(TypeError):
        vars(Secret(PLANTED))


def test_copies_are_the_secret_itself() -> None:
    secret = Secret(PLANTED)
    assert copy.copy(secret) is copy.deepcopy(secret) is secret


def test_equality_and_hash_are_by_value() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1


def test_wrap_and_unwrap_are_inverse() -> None:
    data = {"a": [{"$secret": "x"}, {"$secret": 5}, {"$secret": "y", "more": 1}], "b": None}
    wrapped = wrap(data)
    assert wrapped["a"][0] == Secret("x")
    assert wrapped["a"][1:] == data["a"][1:]
    assert unwrap(wrapped, redacted=False) == data
    assert unwrap(wrapped, redacted=True)["a"][0] == REDACTED
    assert revealed(wrapped)["a"][0] == "x"
    assert find(wrapped) == {"x"}
    assert find([]) == find({}) == find("x") == set()


def test_scrub_replaces_longer_ones_first_and_leaves_short_ones() -> None:
    assert scrub("pass password 1234567 abc", {"pass", "password", "abc", "1234567"}) == (
        f"{REDACTED} {REDACTED} {REDACTED} abc"
    )


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"token": {"type": "string", "writeOnly": True}}},
        {"patternProperties": {"^tok": {"writeOnly": True}}},
        {"additionalProperties": {"writeOnly": True}},
        {"properties": {"token": {"$ref": "#/$defs/a~1b"}}, "$defs": {"a/b": {"writeOnly": True}}},
        {"properties": {"token": {"$ref": "#/$defs/text", "writeOnly": True}}, "$defs": {"text": {"type": "string"}}},
        {"$ref": "#/$defs/all", "$defs": {"all": {"properties": {"token": {"writeOnly": True}}}}},
        {"allOf": [{"properties": {"x": {}}}, {"properties": {"token": {"writeOnly": True}}}]},
        {"anyOf": [{"type": "null"}, {"properties": {"token": {"writeOnly": True}}}]},
        {"oneOf": [{"properties": {"token": {"oneOf": [{"type": "integer"}, {"writeOnly": True}]}}}]},
        {"if": {"required": ["token"]}, "then": {"properties": {"token": {"writeOnly": True}}}},
        {"if": {"required": ["other"]}, "else": {"properties": {"token": {"writeOnly": True}}}},
    ],
)
def test_schema_marks_secrets_wherever_it_says_so(schema: dict[str, Any]) -> None:
    assert mark({"token": PLANTED}, schema)["token"] == Secret(PLANTED)


def test_mark_looks_into_lists_and_hides_whole_objects() -> None:
    schema = {
        "properties": {
            "users": {"items": {"properties": {"word": {"writeOnly": True}}}},
            "pair": {"prefixItems": [{}, {"writeOnly": True}], "items": {}},
            "box": {"type": "object", "writeOnly": True},
        }
    }
    value = {"users": [{"word": "w", "name": "n"}], "pair": ["a", "b", "c"], "box": {"deep": ["x", 1]}}
    assert mark(value, schema) == {
        "users": [{"word": Secret("w"), "name": "n"}],
        "pair": ["a", Secret("b"), "c"],
        "box": {"deep": [Secret("x"), 1]},
    }
    assert value["pair"] == ["a", "b", "c"]


def test_mark_keeps_what_is_marked_already() -> None:
    assert mark({"token": {"$secret": "x"}}, {"properties": {"token": {"type": "string"}}}) == {"token": Secret("x")}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        {"$ref": "#"},
        {"$ref": "#/nowhere/at/all"},
        {"$ref": "https://elsewhere.example/schema"},
        {"allOf": [{"$ref": "#"}]},
        {"properties": {"token": True}, "anyOf": "no list", "patternProperties": []},
    ],
)
def test_odd_schemas_end_and_mark_nothing(schema: dict[str, Any]) -> None:
    assert mark({"token": "x"}, schema) == {"token": "x"}


def test_recursive_schema_marks_at_every_depth() -> None:
    node = {"properties": {"word": {"writeOnly": True}, "next": {"$ref": "#/$defs/node"}}}
    schema = {"$ref": "#/$defs/node", "$defs": {"node": node}}
    value = {"word": "a", "next": {"word": "b", "next": {"word": "c"}}}
    assert find(mark(value, schema)) == {"a", "b", "c"}


HIDDEN = {"type": "string", "writeOnly": True}


@pytest.mark.parametrize(
    "schema",
    [
        {"$defs": {"password": {"$anchor": "hidden", **HIDDEN}}, "properties": {"a": {"$ref": "#hidden"}}},
        {"$defs": {"p": {"$dynamicAnchor": "hidden", **HIDDEN}}, "properties": {"a": {"$dynamicRef": "#hidden"}}},
        {"dependentSchemas": {"a": {"properties": {"a": HIDDEN}}}},
        {"unevaluatedProperties": HIDDEN},
    ],
)
def test_secret_is_found_however_the_schema_says_it(schema: dict[str, Any]) -> None:
    assert mark({"a": "s3cr3t"}, schema) == {"a": Secret("s3cr3t")}


def test_schema_that_refers_to_itself_by_its_root_is_followed() -> None:
    schema = {"properties": {"child": {"$ref": "#"}, "password": HIDDEN}}
    assert mark({"child": {"password": "x"}}, schema) == {"child": {"password": Secret("x")}}


def test_a_token_is_read_from_its_file_and_a_file_that_holds_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(" abc-DEF_123\n")
    assert read_token(path) == Secret("abc-DEF_123")
    for content in (b"", b"\n", b"two\nlines", b"\xff", "\u00e4".encode(), b"x" * 4097):
        path.write_bytes(content)
        with pytest.raises(AllotmentError) as caught:
            read_token(path, "Give another")
        assert str(caught.value) == f"token file {path} holds no token. Give another."
    with pytest.raises(AllotmentError) as caught:
        read_token(tmp_path / "none")
    assert str(caught.value) == (
        f"token file {tmp_path}/none can't be read: No such file or directory. "
        "Give the file that 'allot master token' wrote."
    )
