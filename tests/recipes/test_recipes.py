# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""Each recipe, made as a third party's test makes it: with a plain mapping in place of a buildout."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.codec import loads
from allotment.errors import AllotmentError
from allotment.messages.promise import PromiseFile
from allotment_recipes.recipes import promise

Make = Callable[..., Any]


def test_the_base_is_exported_and_imports_neither_buildout_nor_jinja() -> None:
    code = (
        "import sys, allotment_recipes as r; r.GenericBaseRecipe\n"
        "import allotment_recipes.recipes.template, allotment_recipes.recipes.python_scripts, allotment_recipes.recipes.request\n"
        "sys.exit(bool({'zc.buildout', 'jinja2', 'setuptools', 'pip', 'jsonschema'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


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
        (
            {"promise": "a", "period": "-1"},
            "[part] period: period, timeout, over and jitter are seconds, zero or above.",
        ),
        ({"promise": "a", "period": "soon"}, "[part] period: 'soon' is not a number. Write it like 2.5."),
        ({"promse": "a"}, "[part] promse: unknown option. Did you mean 'promise'?"),
    ],
)
def test_promise_names_what_is_wrong(make_recipe: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(promise.Recipe, options)
