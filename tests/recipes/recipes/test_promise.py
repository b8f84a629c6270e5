# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""The recipe ``promise``: the names of options that SlapOS has, counts of failures, and what is refused."""

import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.codec import loads
from allotment.errors import AllotmentError
from allotment.messages.promise import PromiseFile
from allotment_recipes.recipes import promise

Make = Callable[..., Any]


def written(make_recipe: Make, **options: str) -> tuple[Path, PromiseFile]:
    given = {name.rstrip("_").replace("_", "-"): value for name, value in options.items()}
    made = make_recipe(promise.Recipe, given)
    (path,) = made.install()
    assert made.update() == [path]
    return path, loads(PromiseFile, path.read_bytes(), str(path))


def test_the_names_of_slapos(make_recipe: Make, tmp_path: Path) -> None:
    path, file = written(
        make_recipe,
        eggs="slapos.toolbox",
        module="slapos.promise.plugin.check_url_available",
        class_="RunPromise",
        output="/anywhere/etc/plugin/front-is-up.py",
        mode="0600",
        config_url="http://a/",
        config_frequency="5",
        config_result_count="6",
        config_failure_amount="4",
    )
    assert path == tmp_path / "etc/promise/front-is-up.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert file == PromiseFile("check_url_available", {"url": "http://a/"}, 300.0, 20.0, 4, 6)


def test_counts_of_failures(make_recipe: Make) -> None:
    _, file = written(make_recipe, promise="a", failures="3", window="5", period="7", timeout="8", config_frequency="9")
    assert file == PromiseFile("a", {"frequency": "9"}, 7.0, 8.0, 3, 5), "only SlapOS's module has a frequency"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "[part] promise, module: none of them is given. Give one of them."),
        ({"promise": "a", "module": "b"}, "[part] promise, module: promise and module can't go together. Give one of them."),
        ({"promise": "a", "name": "a", "output": "b"}, "[part] name, output: both name the promise. Give one of them."),
        ({"file": "check.py"}, "[part] file: Python files are not loaded into the node. Make it an executable in etc/promise, or a promise type of a plugin."),
        ({"module": "a", "class": "Other"}, "[part] class: 'Other' is not RunPromise. Leave it out."),
        ({"module": "a", "output": "etc/plugin/a b.py"}, "[part] output: 'a b' is not a promise's name."),
        ({"module": "a", "config-frequency": "often"}, "[part] config-frequency: 'often' is not a number. Write it like 5."),
        ({"module": "a", "config-result-count": "nan"}, "[part] config-result-count: 'nan' is not a number. Write it like 5."),
        ({"module": "a", "config-failure-amount": "1.5"}, "[part] config-failure-amount: 1.5 is not a whole number. Write it like 3."),
        ({"promise": "a", "failures": "21"}, "[part] failures: 21 is not from 0 to 20. Count fewer runs."),
        ({"promise": "a", "failures": "3", "window": "2"}, "[part] failures: 3 is above window. Look at more runs."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(make_recipe: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(promise.Recipe, options)
