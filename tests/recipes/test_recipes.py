# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""Each recipe, made as a third party's test makes it: with a plain mapping in place of a buildout."""

import json
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.codec import loads
from allotment.errors import AllotmentError
from allotment.messages.instance import InstanceInput, InstanceState, SharedInstance
from allotment.messages.promise import PromiseFile
from allotment_recipes.recipes import mkdirectory, promise, publish, request, slapconfiguration, template, wrapper

Make = Callable[..., Any]


def given_instance(**fields: Any) -> InstanceInput:
    defaults: dict[str, Any] = {
        "instance": "inst-1",
        "name": "shop",
        "tree": "root",
        "node": "node-1",
        "partition": "part0",
        "state": InstanceState.STARTED,
        "software_type": "default",
        "manifest": "f" * 64,
        "addresses": ("127.0.0.9", "127.0.1.9"),
    }
    return InstanceInput(**{**defaults, **fields})


def test_the_base_is_exported_and_imports_neither_buildout_nor_jinja() -> None:
    code = (
        "import sys, allotment_recipes as r; r.GenericBaseRecipe\n"
        "import allotment_recipes.recipes.template, allotment_recipes.recipes.python_scripts, allotment_recipes.recipes.request\n"
        "sys.exit(bool({'zc.buildout', 'jinja2', 'setuptools', 'pip', 'jsonschema'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0


def test_template_renders_each_kind_of_context(make_recipe: Make, tmp_path: Path) -> None:
    (tmp_path / "t.j2").write_text(
        "{% import 'lib' as lib %}{{ lib.f(a) }} {{ b }} {{ c[1] }} {{ d.x }} {{ e.y }} {{ f.dumps(c) }} ${x:y}\n"
    )
    (tmp_path / "lib.j2").write_text("{% macro f(x) %}<{{ x }}>{% endmacro %}")
    context = "raw a 1 2\nkey b other:y\njson c [1, 2]\njsonkey d other:json\nsection e other\nimport f json"
    options = {"url": "t.j2", "output": "etc/out", "context": context, "import-list": "file lib lib.j2", "mode": "0640"}
    recipe = make_recipe(template.Recipe, options, other={"y": "why", "json": '{"x": true}'})
    assert recipe.install() == [tmp_path / "etc/out"]
    assert (tmp_path / "etc/out").read_text() == "<1 2> why 2 True why [1, 2] ${x:y}\n"
    assert stat.S_IMODE((tmp_path / "etc/out").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "o", "inline": "x", "context": "kye a b:c"}, "[part] context: 'kye a b:c' has the unknown kind 'kye'. Did you mean 'key'?"),
        ({"output": "o", "inline": "x", "context": "key a b"}, "[part] context: a: 'b' is not 'section:option'. Correct the line."),
        ({"output": "o", "inline": "x", "context": "json a {"}, "[part] context: a: Expecting property name"),
        ({"output": "o", "inline": "x", "context": "alone"}, "[part] context: 'alone' is not 'kind name expression'."),
        ({"output": "o", "inline": "x", "import-list": "lib x"}, "[part] import-list: 'lib x' is not 'file NAME PATH'."),
        ({"output": "o"}, "[part] options: give one of url and inline."),
        ({"output": "o", "inline": "a", "url": "b"}, "[part] options: give one of url and inline."),
        ({"output": "o", "inline": "a", "mode": "rw"}, "[part] mode: 'rw' is not an octal number. Write it like 0644."),
    ],
)  # fmt: skip
def test_template_names_what_is_wrong(make_recipe: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)) as caught:
        make_recipe(template.Recipe, options)
    assert any(base.__module__.startswith("zc.buildout") for base in type(caught.value).__mro__), (
        "a UserError of buildout"
    )


def test_template_names_the_line_of_a_syntax_error(make_recipe: Make) -> None:
    recipe = make_recipe(template.Recipe, {"output": "o", "inline": "a\n{% if %}\n"})
    with pytest.raises(AllotmentError, match=r"\[part\] \[part\] inline, line 2: "):
        recipe.install()


def test_template_that_is_missing_is_named(make_recipe: Make, tmp_path: Path) -> None:
    recipe = make_recipe(template.Recipe, {"output": "o", "url": "nothing.j2"})
    with pytest.raises(
        AllotmentError, match=re.escape(f"[part] url: {tmp_path}/nothing.j2 can't be read: No such file")
    ):
        recipe.install()


def test_mkdirectory_makes_folders_and_never_removes_them(make_recipe: Make, tmp_path: Path) -> None:
    recipe = make_recipe(mkdirectory.Recipe, {"etc": "a/etc/", "data": str(tmp_path / "data"), "mode": "0700"})
    assert recipe.raw["etc"] == str(tmp_path / "a/etc")
    assert recipe.install() == []
    assert recipe.install() == []
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_mkdirectory_says_what_is_in_the_way(make_recipe: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AllotmentError, match=r"\[part\] etc: .*/file/etc can't be made: Not a directory"):
        make_recipe(mkdirectory.Recipe, {"etc": "file/etc"}).install()
    with pytest.raises(AllotmentError, match=r"\[part\] etc: is empty\. Write a path\."):
        make_recipe(mkdirectory.Recipe, {"etc": ""})


def test_wrapper_passes_arguments_and_environment(make_recipe: Make, tmp_path: Path) -> None:
    code = "import os, sys; print(sys.argv[1:], os.environ['A'])"
    options = {
        "command-line": f'{sys.executable} -c "{code}" "one two"',
        "wrapper-path": "bin/w",
        "environment": "A=x  $y 'z'\nB=",
    }
    (path,) = make_recipe(wrapper.Recipe, options).install()
    assert path == tmp_path / "bin/w"
    done = subprocess.run([path, "three"], capture_output=True, text=True, timeout=10, check=True)
    assert done.stdout == "['one two', 'three'] x  $y 'z'\n"


def test_wrapper_changes_when_a_hashed_file_does(make_recipe: Make, tmp_path: Path) -> None:
    recipe = make_recipe(wrapper.Recipe, {"command-line": "true", "wrapper-path": "w", "hash-files": "conf"})
    with pytest.raises(AllotmentError, match=r"\[part\] hash-files: .*/conf can't be read"):
        recipe.install()
    texts = []
    for content in ("one", "two"):
        (tmp_path / "conf").write_text(content)
        recipe.install()
        texts.append((tmp_path / "w").read_text())
    assert texts[0] != texts[1]


def test_wrapper_waits_for_files(make_recipe: Make, tmp_path: Path) -> None:
    make_recipe(wrapper.Recipe, {"command-line": "echo on", "wrapper-path": "w", "wait-for-files": "ready"}).install()
    process = subprocess.Popen([tmp_path / "w"], stdout=subprocess.PIPE, text=True)
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(timeout=0.2)
    (tmp_path / "ready").write_text("")
    assert process.communicate(timeout=10)[0] == "on\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"command-line": "a 'b", "wrapper-path": "w"}, "[part] command-line: can't be split into words: No closing quotation."),
        ({"command-line": " ", "wrapper-path": "w"}, "[part] command-line: is empty."),
        ({"command-line": "a", "wrapper-path": "w", "environment": "1A=b"}, "[part] environment: '1A' is not NAME=value."),
        ({"command-line": "a"}, "[part] wrapper-path: missing option. Add 'wrapper-path = ...'."),
    ],
)  # fmt: skip
def test_wrapper_names_what_is_wrong(make_recipe: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(wrapper.Recipe, options)


def test_slapconfiguration_sets_what_the_world_says(make_recipe: Make) -> None:
    shared = (SharedInstance("tenant", {"domain": "example.org"}),)
    parameters = {"text": "a", "number": 3, "flag": True, "deep": {"x": [1]}}
    recipe = make_recipe(slapconfiguration.Recipe, {}, given_instance(parameters=parameters, shared=shared))
    assert recipe.install() == []
    raw = recipe.raw
    assert (raw["address"], raw["addresses"]) == ("127.0.0.9", "127.0.0.9\n127.0.1.9")
    assert (raw["instance-title"], raw["root-instance-title"], raw["node"]) == ("shop", "root", "node-1")
    assert (raw["state"], raw["slap-software-type"], raw["manifest"]) == ("started", "default", "f" * 64)
    assert (raw["configuration.text"], raw["configuration.number"], raw["configuration.flag"]) == ("a", "3", "true")
    assert raw["configuration.deep"] == '{"x": [1]}'
    assert json.loads(raw["configuration"]) == parameters
    assert json.loads(raw["shared-instances"]) == [{"name": "tenant", "parameters": {"domain": "example.org"}}]


SCHEMA = {
    "properties": {
        "port": {"type": "integer", "maximum": 65535, "default": 8080},
        "token": {"type": "string", "minLength": 8, "writeOnly": True},
    },
    "required": ["token"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"token": "12345678", "port": 70000}, "[part] configuration: parameter port: 70000 is greater than the maximum of 65535. Correct its value."),
        ({"token": "s3cret!"}, "[part] configuration: parameter token: a secret breaks the rule 'minLength'. Correct its value."),
        ({}, "[part] configuration: parameter token is missing. Add token."),
        ({"token": "12345678", "prot": 1}, "[part] configuration: unknown parameter prot. Did you mean 'port'? Valid: port, token."),
    ],
)  # fmt: skip
def test_a_parameter_against_its_schema_is_named(
    make_recipe: Make, tmp_path: Path, parameters: dict[str, Any], message: str
) -> None:
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    with pytest.raises(AllotmentError, match=re.escape(message)) as caught:
        make_recipe(slapconfiguration.Recipe, {"jsonschema": "schema.json"}, given_instance(parameters=parameters))
    assert "s3cret" not in str(caught.value)


def test_defaults_of_the_schema_are_filled_in(make_recipe: Make, tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    recipe = make_recipe(
        slapconfiguration.Recipe, {"jsonschema": "schema.json"}, given_instance(parameters={"token": "12345678"})
    )
    assert recipe.raw["configuration.port"] == "8080"
    assert "12345678" not in recipe.raw["configuration.token"]


def test_slapconfiguration_outside_an_instance_says_so(make_recipe: Make, tmp_path: Path) -> None:
    with pytest.raises(AllotmentError) as caught:
        make_recipe(slapconfiguration.Recipe, {})
    assert str(caught.value) == (
        f"[part] needs an instance, but {tmp_path}/.allotment/instance.json does not exist. "
        "Use this recipe in an instance profile only."
    )


def test_publish_speaks_for_a_shared_instance(make_recipe: Make) -> None:
    instance = given_instance(shared=(SharedInstance("tenant"),))
    recipe = make_recipe(publish.Recipe, {"-shared": "tenant", "url": "http://t/"}, instance)
    recipe.install()
    assert recipe.run.published_shared == {"tenant": {"url": "http://t/"}}
    with pytest.raises(AllotmentError, match=r"\[part\] -shared: there is no shared instance 'nobody'"):
        make_recipe(publish.Recipe, {"-shared": "nobody"}, instance)
    with pytest.raises(AllotmentError, match=r"\[part\] -share: unknown option\. Did you mean '-shared'\?"):
        make_recipe(publish.Recipe, {"-share": "tenant"}, instance)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "a", "release": "r", "confg-x": "1"}, "[part] confg-x: unknown option. Did you mean 'config-'?"),
        ({"name": "a", "release": "r", "parameters": "{"}, "[part] parameters: is not JSON"),
        ({"name": "a", "release": "r", "parameters": "[]"}, "[part] parameters: is not a JSON object."),
        ({"name": "a", "release": "r", "state": "strated"}, "[part] state: 'strated' is not one of its values. Did you mean 'started'?"),
        ({"name": "a"}, "[part] release: missing option."),
    ],
)  # fmt: skip
def test_request_names_what_is_wrong(make_recipe: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(request.Recipe, options, given_instance())


def test_promise_writes_its_file(make_recipe: Make, tmp_path: Path) -> None:
    options = {"promise": "check_url_available", "config-url": "http://a/", "config-http-code": "200", "period": "5"}
    (path,) = make_recipe(promise.Recipe, options).install()
    assert path == tmp_path / "etc/promise/part.json"
    assert loads(PromiseFile, path.read_bytes()) == PromiseFile(
        "check_url_available", {"url": "http://a/", "http-code": "200"}, period=5.0
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"promise": "a", "name": "../x"}, "[part] name: '../x' is not a promise's name."),
        ({"promise": "a", "period": "0"}, "[part] period: period and timeout are seconds above zero."),
        ({"promise": "a", "period": "soon"}, "[part] period: 'soon' is not a number. Write it like 2.5."),
        ({"promse": "a"}, "[part] promse: unknown option. Did you mean 'promise'?"),
    ],
)
def test_promise_names_what_is_wrong(make_recipe: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(promise.Recipe, options)


def test_a_schema_never_asks_the_network(make_recipe: Make, tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text('{"$ref": "http://127.0.0.1:9/schema.json"}')
    with pytest.raises(
        AllotmentError,
        match=r"\[part\] configuration: the schema refers to http://127\.0\.0\.1:9/schema\.json, which is not",
    ):
        make_recipe(slapconfiguration.Recipe, {"jsonschema": "schema.json"}, given_instance())
