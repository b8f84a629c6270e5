# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allotment.errors import AllotmentError
from allotment.messages.instance import SharedInstance
from allotment.secret import Secret
from allotment_recipes import parameters as schemas
from allotment_recipes.recipes.slapconfiguration import Recipe
from allotment_recipes.testing import given_instance

SCHEMA: dict[str, Any] = {
    "properties": {
        "port": {"type": "integer", "maximum": 65535, "default": 8080},
        "token": {"type": "string", "minLength": 8, "writeOnly": True},
    },
    "required": ["token"],
    "additionalProperties": False,
}
SHARED: dict[str, Any] = {
    "properties": {
        "domain": {"type": "string"},
        "size": {"type": "integer", "default": 1},
        "key": {"type": "string", "writeOnly": True},
    },
    "required": ["domain"],
}


class Make:
    """Makes the recipe for an input and options; each schema given by name is written to ``<name>.json``."""

    def __init__(self, make_recipe: Callable[..., Any], folder: Path) -> None:
        self._make = make_recipe
        self.folder = folder

    def __call__(self, options: dict[str, str] | None = None, /, **fields: Any) -> Any:
        for name in ("schema", "shared_schema"):
            if name in fields:
                (self.folder / f"{name}.json").write_text(json.dumps(fields.pop(name)))
        return self._make(Recipe, options or {}, given_instance(**fields))


@pytest.fixture
def make(make_recipe: Callable[..., Any], tmp_path: Path) -> Make:
    return Make(make_recipe, tmp_path)


def read(recipe: Any, option: str) -> Any:
    return json.loads(recipe.raw[option])


def test_it_sets_what_the_world_says(make: Make) -> None:
    shared = (SharedInstance("tenant", {"domain": "example.org"}),)
    parameters = {"text": "a", "number": 3, "flag": True, "deep": {"x": [1]}}
    recipe = make(parameters=parameters, shared=shared, tree="root")
    assert recipe.install() == []
    raw = recipe.raw
    assert (raw["address"], raw["addresses"]) == ("127.0.0.9", "127.0.0.9\n127.0.1.9")
    assert (raw["instance-title"], raw["root-instance-title"], raw["node"]) == ("shop", "root", "node-1")
    assert (raw["state"], raw["slap-software-type"], raw["manifest"]) == ("started", "default", "f" * 64)
    assert (raw["configuration.text"], raw["configuration.number"], raw["configuration.flag"]) == ("a", "3", "true")
    assert raw["configuration.deep"] == '{"x": [1]}'
    assert read(recipe, "configuration") == parameters
    assert read(recipe, "shared-instances") == [{"name": "tenant", "parameters": {"domain": "example.org"}}]


def test_it_says_the_same_by_the_names_that_slapos_has(make: Make) -> None:
    raw = make(addresses=("::1", "10.0.0.1", "fd00::2")).raw
    assert (raw["ipv4"], raw["ipv4-random"]) == ('["10.0.0.1"]', "10.0.0.1")
    assert (raw["ipv6"], raw["ipv6-random"]) == ('["::1", "fd00::2"]', "::1")
    assert (raw["computer"], raw["slap-computer-id"]) == ("node-1", "node-1")
    assert (raw["partition"], raw["slap-computer-partition-id"]) == ("part0", "part0")
    assert (raw["instance-guid"], raw["instance-state"]) == ("inst-1", "started")
    assert raw["slap-software-release-url"] == "f" * 64
    assert make(addresses=()).raw["ipv4-random"] == ""


def test_outside_an_instance_it_says_so(make_recipe: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(AllotmentError) as caught:
        make_recipe(Recipe, {})
    assert str(caught.value) == (
        f"[part] needs an instance, but {tmp_path}/.allotment/instance.json does not exist. "
        "Use this recipe in an instance profile only."
    )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"token": "12345678", "port": 70000}, "[part] configuration: parameter port: 70000 is greater than the maximum of 65535. Correct its value."),
        ({"token": "s3cret!"}, "[part] configuration: parameter token: a secret breaks the rule 'minLength'. Correct its value."),
        ({}, "[part] configuration: parameter token is missing. Add token."),
        ({"token": "12345678", "prot": 1}, "[part] configuration: unknown parameter prot. Did you mean 'port'? Valid: port, token."),
    ],
)  # fmt: skip
def test_a_parameter_against_its_schema_is_named(make: Make, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)) as caught:
        make({"jsonschema": "schema.json"}, schema=SCHEMA, parameters=parameters)
    assert "s3cret" not in str(caught.value)


def test_defaults_of_the_schema_are_filled_in(make: Make) -> None:
    recipe = make({"jsonschema": "schema.json"}, schema=SCHEMA, parameters={"token": "12345678"})
    assert recipe.raw["configuration.port"] == "8080"
    assert "12345678" not in recipe.raw["configuration.token"]


@pytest.mark.parametrize(
    ("whose", "main", "shared"), [("all", 8080, 1), ("main", 8080, None), ("shared", None, 1), ("none", None, None)]
)
def test_whose_defaults_are_filled_in_is_chosen(make: Make, whose: str, main: int | None, shared: int | None) -> None:
    recipe = make(
        {"jsonschema": "schema.json", "shared-jsonschema": "shared_schema.json", "set-default": whose},
        schema=SCHEMA,
        shared_schema=SHARED,
        parameters={"token": "12345678"},
        shared=(SharedInstance("tenant", {"domain": "a.org"}),),
    )
    assert read(recipe, "configuration").get("port") == main
    assert read(recipe, "shared-instances")[0]["parameters"].get("size") == shared


@pytest.mark.parametrize(
    ("whose", "main", "shared"), [("all", 80, 2), ("main", 80, "2"), ("shared", "80", 2), ("none", "80", "2")]
)
def test_whose_texts_become_what_the_schema_wants_is_chosen(make: Make, whose: str, main: Any, shared: Any) -> None:
    options = {"jsonschema": "schema.json", "shared-jsonschema": "shared_schema.json", "unstringify": whose}
    recipe = make(
        {**options, "validate-parameters": "none"},
        schema=SCHEMA,
        shared_schema=SHARED,
        parameters={"token": "12345678", "port": "80"},
        shared=(SharedInstance("tenant", {"domain": "a.org", "size": "2"}),),
    )
    assert read(recipe, "configuration")["port"] == main
    assert read(recipe, "shared-instances")[0]["parameters"]["size"] == shared


def shared_pair() -> tuple[SharedInstance, ...]:
    return SharedInstance("good", {"domain": "a.org", "key": "s3cret-key"}), SharedInstance("bad", {"size": 7})


def test_valid_and_invalid_shared_instances_are_told_apart(make: Make) -> None:
    recipe = make({"shared-jsonschema": "shared_schema.json"}, shared_schema=SHARED, shared=shared_pair())
    error = "shared instance 'bad': parameter domain is missing. Add domain."
    (good,) = read(recipe, "shared-instances")
    assert (good["name"], good["parameters"]["domain"], good["parameters"]["size"]) == ("good", "a.org", 1)
    assert read(recipe, "invalid-shared-instances") == [{"name": "bad", "parameters": {"size": 7}, "errors": [error]}]
    (slave,) = read(recipe, "slave-instance-list")
    assert (slave["slave_reference"], slave["reference"], slave["domain"]) == ("good", "good", "a.org")
    (refused,) = read(recipe, "invalid-slave-instance-list")
    assert (refused["slave_title"], refused["errors"]) == ("bad", [error])
    assert recipe.run.shared_errors == {"bad": [error]}
    assert "s3cret-key" not in str(recipe.raw)


@pytest.mark.parametrize(
    ("options", "valid", "told"),
    [
        ({"report-error": "shared"}, ["good"], True),
        ({"report-error": "main"}, ["good"], False),
        ({"report-error": "none"}, ["good"], False),
        ({"validate-parameters": "main"}, ["good", "bad"], False),
    ],
)
def test_checks_and_reports_of_shared_instances_are_chosen(
    make: Make, options: dict[str, str], valid: list[str], told: bool
) -> None:
    options = {"shared-jsonschema": "shared_schema.json", **options}
    recipe = make(options, shared_schema=SHARED, shared=shared_pair())
    assert [item["name"] for item in read(recipe, "shared-instances")] == valid
    assert bool(recipe.run.shared_errors) is told


def test_an_error_that_is_not_reported_is_an_option(make: Make) -> None:
    recipe = make({"jsonschema": "schema.json", "report-error": "shared"}, schema=SCHEMA, parameters={"port": 1})
    assert read(recipe, "configuration-errors") == ["[part] configuration: parameter token is missing. Add token."]
    assert read(recipe, "configuration") == {"port": 1}
    recipe = make({"jsonschema": "schema.json", "validate-parameters": "shared"}, parameters={"port": "no number"})
    assert read(recipe, "configuration-errors") == []


def test_an_error_of_a_tenant_is_cut_to_a_bearable_length(make: Make) -> None:
    shared = (SharedInstance("long", {"domain": ["x" * 100_000]}),)
    recipe = make({"shared-jsonschema": "shared_schema.json"}, shared_schema=SHARED, shared=shared)
    assert len(recipe.run.shared_errors["long"][0]) < 1000


def test_errors_of_shared_instances_reach_published_json_and_leave_it_when_mended(partition: Any) -> None:
    (partition.software / "shared.json").write_text(json.dumps(SHARED))
    profile = (
        "[buildout]\nparts = s\n[s]\nrecipe = allotment.recipes:slapconfiguration\n"
        f"shared-jsonschema = {partition.software}/shared.json\n"
    )
    partition.shared = shared_pair()
    assert partition.run(profile).error == ""
    assert dict(partition.published.shared_errors) == {
        "bad": ("shared instance 'bad': parameter domain is missing. Add domain.",)
    }
    assert "s3cret-key" not in partition.text(".installed.cfg")
    partition.shared = (SharedInstance("bad", {"domain": "b.org"}),)
    assert partition.run().error == ""
    assert dict(partition.published.shared_errors) == {}


def test_a_tenant_can_not_take_anothers_name(make: Make) -> None:
    recipe = make(shared=(SharedInstance("thief", {"slave_reference": "victim"}),))
    assert [item["slave_reference"] for item in read(recipe, "slave-instance-list")] == ["thief"]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"_": '{"port": 1, "deep": {"x": [1]}}'}, {"port": 1, "deep": {"x": [1]}}),
        ({"port": 1}, {"port": 1}),
        ({}, {}),
    ],
)
def test_json_in_one_parameter_is_read(make: Make, given: dict[str, Any], found: dict[str, Any]) -> None:
    recipe = make({"serialisation": "json-in-xml"}, parameters=given, shared=(SharedInstance("t", given),))
    assert read(recipe, "configuration") == found
    (slave,) = read(recipe, "slave-instance-list")
    assert json.loads(slave["_"]) == found


def test_a_secret_in_that_one_parameter_makes_all_texts_secret(make: Make) -> None:
    recipe = make({"serialisation": "json-in-xml"}, parameters={"_": Secret('{"password": "s3same", "port": 1}')})
    assert "s3same" not in str(recipe.raw)
    assert recipe.run.tokens.reveal(recipe.raw["configuration.password"]) == "s3same"
    assert recipe.raw["configuration.port"] == "1"


def test_with_another_serialisation_that_parameter_is_like_others(make: Make) -> None:
    for serialisation in ("json", "xml"):
        assert make({"serialisation": serialisation}, parameters={"_": "{}"}).raw["configuration._"] == "{}"


@pytest.mark.parametrize("value", ["{", "[]", "", 7, "[" * 100_000, '{"a": NaN}', r'{"a": "\ud800"}'])
def test_one_parameter_that_is_no_object_is_refused(make: Make, value: Any) -> None:
    with pytest.raises(AllotmentError) as caught:
        make({"serialisation": "json-in-xml"}, parameters={"_": value})
    assert str(caught.value) == ("[part] configuration: parameter _ is not a JSON object. Write all parameters in it.")


def test_disks_of_this_partition_are_linked(make: Make, tmp_path: Path) -> None:
    for name in ("disk0/part0", "disk1/part0", "disk2/part1"):
        (tmp_path / "disks" / name).mkdir(parents=True)
    recipe = make({"storage-home": str(tmp_path / "disks")})
    assert recipe.install() == [tmp_path / "DATA/disk0", tmp_path / "DATA/disk1"]
    assert recipe.install() == recipe.update()
    assert (tmp_path / "DATA/disk1").readlink() == tmp_path / "disks/disk1/part0"
    assert read(recipe, "storage-dict") == {name: str(tmp_path / "DATA" / name) for name in ("disk0", "disk1")}
    assert read(make({"storage-home": str(tmp_path / "none")}), "storage-dict") == {}


def test_disks_that_can_not_be_read_are_named(make: Make, tmp_path: Path) -> None:
    (tmp_path / "disks").write_text("")
    with pytest.raises(AllotmentError, match=r"\[part\] storage-home: .*/disks can't be read: Not a directory"):
        make({"storage-home": str(tmp_path / "disks")})


def test_a_schema_is_found_by_software_type_in_the_description_of_a_release(make: Make) -> None:
    (make.folder / "in.json").write_text(json.dumps(SCHEMA))
    (make.folder / "tenant.json").write_text(json.dumps(SHARED))
    (make.folder / "ours.json").write_text(json.dumps({"format": 1, "types": {"default": {"parameters": "in.json"}}}))
    types = {
        "default": {"request": "in.json"},
        "tenant": {"request": "tenant.json", "shared": True, "software-type": "default"},
    }
    (make.folder / "theirs.json").write_text(json.dumps({"serialisation": "json-in-xml", "software-type": types}))
    parameters = {"token": "12345678"}
    assert make({"jsonschema": "ours.json"}, parameters=parameters).raw["configuration.port"] == "8080"
    recipe = make({"jsonschema": "theirs.json"}, parameters=parameters, shared=shared_pair())
    assert recipe.raw["configuration.port"] == "8080"
    assert [item["name"] for item in read(recipe, "shared-instances")] == ["good"]
    for name in ("ours", "theirs"):
        old = make({"jsonschema": f"{name}.json"}, parameters=parameters, software_type="RootSoftwareInstance")
        assert old.raw["configuration.port"] == "8080"
    for name in ("ours", "theirs"):
        message = f"[part] jsonschema: {make.folder}/{name}.json has no schema for software type 'defualt'. Did you mean 'default'?"
        with pytest.raises(AllotmentError, match=re.escape(message)):
            make({"jsonschema": f"{name}.json"}, software_type="defualt")


def test_files_that_a_schema_refers_to_are_read(make: Make) -> None:
    (make.folder / "deep").mkdir()
    common = {"$id": "https://a.org/", "$defs": {"port": {"$ref": "#/$defs/number"}, "number": {"type": "integer"}}}
    (make.folder / "deep/common.json").write_text(json.dumps(common))
    (make.folder / "deep/more.json").write_text(
        json.dumps({"properties": {"b": {"$ref": "common.json#/$defs/port"}, "again": {"$ref": "../schema.json"}}})
    )
    schema = {
        "allOf": [{"$ref": "./deep/more.json"}],
        "properties": {"a": {"$ref": "deep/common.json#/$defs/port", "default": 1}},
    }
    recipe = make({"jsonschema": "schema.json"}, schema=schema, parameters={"again": {"b": 2}})
    assert read(recipe, "configuration") == {"a": 1, "again": {"a": 1, "b": 2}}
    for parameters, place in (({"b": "x"}, "b"), ({"again": {"a": "x"}}, "again.a")):
        with pytest.raises(AllotmentError, match=f"parameter {place}: 'x' is not of type 'integer'"):
            make({"jsonschema": "schema.json"}, parameters=parameters)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ('{"$ref": "http://127.0.0.1:9/s.json"}', "refers to http://127.0.0.1:9/s.json, which is not in it. Put that into its $defs."),
        ('{"$ref": "none.json"}', "none.json can't be read: No such file or directory. Correct the path."),
        ('{"type": "objekt"}', "is not a JSON schema: type: 'objekt' is not valid"),
        ("{", "is not JSON: Expecting property name"),
        ("[]", "is not a JSON schema. Write a JSON object."),
        ('{"allOf": [{"$ref": "#"}]}', "the JSON schema refers to itself without end. Correct the schema."),
        ('{"properties": {"a": {"default": {}, "$ref": "#"}}}', "the JSON schema refers to itself without end. Correct the schema."),
    ],
)  # fmt: skip
@pytest.mark.parametrize("option", ["jsonschema", "shared-jsonschema"])
def test_a_schema_that_can_not_be_used_is_named(make: Make, option: str, schema: str, message: str) -> None:
    (make.folder / "schema.json").write_text(schema)
    shared = (SharedInstance("t", {}),)
    if "without end" in message and option == "shared-jsonschema":
        recipe = make({option: "schema.json"}, shared=shared)
        assert message in recipe.run.shared_errors["t"][0]
        return
    with pytest.raises(AllotmentError, match=re.escape(message)) as caught:
        make({option: "schema.json"}, shared=shared)
    assert "without end" in message or str(caught.value).startswith(f"[part] {option}: {make.folder}/")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"set-default": "both"}, "[part] set-default: 'both' is not one of its values."),
        ({"serialisation": "xmll"}, "[part] serialisation: 'xmll' is not one of its values. Did you mean 'xml'?"),
        ({"jsonshema": "a"}, "[part] jsonshema: unknown option. Did you mean 'jsonschema'?"),
        ({"jsonschema": "none"}, "can't be read: No such file or directory. Correct the path."),
    ],
)
def test_a_wrong_option_is_named(make: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make(options)


@pytest.mark.parametrize(
    ("schema", "value", "found"),
    [
        ({"properties": {"a": {"default": {}, "properties": {"b": {"default": 1}}}}}, {}, {"a": {"b": 1}}),
        ({"properties": {"a": {"properties": {"b": {"default": 1}}}}}, {"a": {}}, {"a": {"b": 1}}),
        ({"properties": {"a": {"properties": {"b": {"default": 1}}}}}, {}, {}),
        ({"properties": {"a": {"default": 1}}}, {"a": None}, {"a": None}),
        ({"allOf": [{"properties": {"a": {"default": 1}}}], "properties": {"a": {"type": "integer"}}}, {}, {"a": 1}),
        ({"oneOf": [{"properties": {"a": {"default": 1}}}]}, {}, {}),
        ({"patternProperties": {"^x": {"properties": {"b": {"default": 1}}}}}, {"x1": {}, "y": {}}, {"x1": {"b": 1}, "y": {}}),
        ({"additionalProperties": {"properties": {"b": {"default": 1}}}}, {"x": {}}, {"x": {"b": 1}}),
        ({"properties": {"l": {"prefixItems": [{}], "items": {"properties": {"b": {"default": 1}}}}}}, {"l": [{}, {}]}, {"l": [{}, {"b": 1}]}),
        ({"$defs": {"d": {"properties": {"b": {"default": [1]}}}}, "properties": {"a": {"$ref": "#/$defs/d"}}}, {"a": {}}, {"a": {"b": [1]}}),
        ({"properties": {"a": True}}, {"a": {}}, {"a": {}}),
    ],
)  # fmt: skip
def test_where_defaults_are_looked_for(schema: dict[str, Any], value: Any, found: Any) -> None:
    assert schemas.completed(value, schema) == found


@pytest.mark.parametrize(
    ("kind", "text", "found"),
    [
        ("integer", "8", 8),
        ("integer", "8.5", "8.5"),
        ("integer", "true", "true"),
        ("number", "8.5", 8.5),
        ("number", "NaN", "NaN"),
        ("boolean", "true", True),
        ("boolean", "1", "1"),
        ("object", '{"a": 1}', {"a": 1}),
        ("array", "[1]", [1]),
        ("null", "null", None),
        (["integer", "null"], "null", None),
        (["integer", "string"], "8", "8"),
        ("string", "8", "8"),
        ("integer", "eight", "eight"),
        ("array", "[" * 100_000, "[" * 100_000),
    ],
)
def test_which_texts_become_values(kind: Any, text: str, found: Any) -> None:
    schema = {"properties": {"a": {"type": kind}}}
    assert schemas.unstringified({"a": text}, schema) == {"a": found}


JSON_VALUES = st.recursive(
    st.text() | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.text(), JSON_VALUES, max_size=5), st.dictionaries(st.text(), JSON_VALUES, max_size=5))
def test_defaults_add_what_is_absent_and_change_nothing_else(value: dict[str, Any], defaults: dict[str, Any]) -> None:
    schema = {"properties": {name: {"default": item} for name, item in defaults.items()}}
    found = schemas.completed(value, schema)
    assert found == {**defaults, **value}
    assert schemas.completed(found, schema) == found


@given(st.sampled_from(["properties", "allOf", "items", "prefixItems", "$ref", "type"]), JSON_VALUES, JSON_VALUES)
def test_whatever_stands_where_a_schema_should_is_survived(word: str, value: Any, odd: Any) -> None:
    with contextlib.suppress(AllotmentError):  # "#" refers to itself
        schemas.completed({"a": value}, {word: odd})
        schemas.unstringified({"a": value}, {"properties": {"a": {word: odd}}})


@given(st.dictionaries(st.text(), st.integers() | st.booleans() | st.lists(st.integers())))
def test_values_written_as_texts_come_back(value: dict[str, Any]) -> None:
    kinds = {int: "integer", bool: "boolean", list: "array"}
    schema = {"properties": {name: {"type": kinds[type(item)]} for name, item in value.items()}}
    texts = {name: json.dumps(item) for name, item in value.items()}
    assert schemas.unstringified(texts, schema) == value
