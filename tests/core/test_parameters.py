# SPDX-License-Identifier: Apache-2.0
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment.messages.manifest import Blob, ReleaseManifest, SoftwareType
from allotment.parameters import ParameterError, accepted, check_schema, checked, software_type
from allotment.secret import Secret

SCHEMA = {
    "properties": {
        "greeting": {"type": "string", "description": "What to say."},
        "port": {"type": "integer", "maximum": 65535},
        "pin": {"allOf": [{"writeOnly": True}, {"type": "integer", "maximum": 9999}]},
        "password": {"type": "string", "minLength": 8, "writeOnly": True},
        "nested": {
            "properties": {"a": {"type": "integer"}, "key": {"writeOnly": True}},
            "required": ["a"],
            "additionalProperties": False,
            "patternProperties": {"^x-": True},
            "maxProperties": 3,
        },
    },
    "dependentRequired": {"port": ["greeting"]},
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"greting": "hi"},
            "here: unknown parameter greting. Did you mean 'greeting'? Valid: greeting, nested, password, pin, port.",
        ),
        (
            {"greeting": 7},
            "here: parameter greeting: 7 is not of type 'string'. Correct its value; it is: What to say.",
        ),
        (
            {"greeting": "", "port": 70000},
            "here: parameter port: 70000 is greater than the maximum of 65535. Correct its value.",
        ),
        ({"port": 1}, "here: the parameters: 'greeting' is a dependency of 'port'. Correct its value."),
        ({"nested": {}}, "here: parameter nested.a is missing. Add nested.a."),
        ({"nested": {"a": 1, "x-b": 1, "b": 1}}, "here: unknown parameter nested.b. Valid: a, key."),
        ({"password": "short"}, "here: parameter password: a secret breaks the rule 'minLength'. Correct its value."),
        ({"password": 12345678}, "here: parameter password: a secret breaks the rule 'type'. Correct its value."),
        ({"pin": 12345}, "here: parameter pin: a secret breaks the rule 'maximum'. Correct its value."),
        (
            {"greeting": "", "port": Secret("80")},
            "here: parameter port: a secret breaks the rule 'type'. Correct its value.",
        ),
        (
            {"nested": {"a": 1, "key": 12345, "x-b": 1, "x-c": 1}},
            "here: parameter nested: a secret breaks the rule 'maxProperties'. Correct its value.",
        ),
    ],
)
def test_the_first_problem_is_named_with_its_fix(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        checked(parameters, SCHEMA, "here")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("asked", "offered"), [("default", "RootSoftwareInstance"), ("RootSoftwareInstance", "default")]
)
def test_the_default_type_has_two_names(asked: str, offered: str) -> None:
    kinds = {offered: SoftwareType("", "", "a", {"required": ["port"]}, {})}
    manifest = ReleaseManifest("shop", "software.cfg", Blob("0" * 64, 1), kinds, {})
    with pytest.raises(ParameterError, match="port"):
        accepted(manifest, asked, {})
    kinds[asked] = SoftwareType("", "", "b", {}, {})
    assert software_type(manifest, asked).profile == "b", "its own name comes first"


def test_what_is_accepted_comes_back_with_its_secrets_marked() -> None:
    assert checked({"password": "12345678", "nested": {"a": 1}}, SCHEMA, "here") == {
        "password": Secret("12345678"),
        "nested": {"a": 1},
    }
    assert checked({"anything": 1}, True, "here") == {"anything": 1}


LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.just("planted-secret"), st.just(20261123))


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from("abc"), inner)))
def test_no_message_shows_what_is_secret(value: Any) -> None:
    schema = {"properties": {"p": {"allOf": [{"writeOnly": True}, {"const": "other"}]}}}
    with pytest.raises(ParameterError) as caught:
        checked({"p": value}, schema, "here")
    assert "planted-secret" not in str(caught.value)
    assert "20261123" not in str(caught.value)


def test_a_schema_that_refers_to_elsewhere_is_not_followed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        away = f"http://127.0.0.1:{listener.getsockname()[1]}/schema.json"
        with pytest.raises(ParameterError) as caught:
            checked({}, {"$ref": away}, "here")
        assert str(caught.value) == (f"here: the schema refers to {away}, which is not in it. Put that into its $defs.")
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (
            {"properties": {"a": {"type": "objekt"}}},
            "here is not a JSON schema: properties/a/type: 'objekt' is not valid under any of the given schemas. "
            "Correct the schema.",
        ),
        (7, "here is not a JSON schema: the schema: 7 is not of type 'object', 'boolean'. Correct the schema."),
        (
            {"anyOf": [{"$dynamicRef": "other.json#/x"}]},
            "here refers to other.json#/x, which is not in it. Put that into its $defs.",
        ),
    ],
)
def test_an_unusable_schema_is_refused(schema: Any, message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        check_schema(schema, "here")
    assert str(caught.value) == message


def test_a_schema_that_never_ends_is_named() -> None:
    check_schema({"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}}, "here")
    with pytest.raises(ParameterError, match=r"^here: the schema refers to itself without end\. Correct the schema\.$"):
        checked({}, {"$ref": "#"}, "here")
