# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""Each recipe, made as a third party's test makes it: with a plain mapping in place of a buildout."""

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
from allotment.messages.promise import PromiseFile
from allotment_recipes.recipes import mkdirectory, promise, template

Make = Callable[..., Any]


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
