# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""The recipe ``promise``: the names of options that SlapOS has, counts of failures, and what is refused."""

import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zope.interface

from allotment.codec import loads
from allotment.errors import AllotmentError
from allotment.messages.promise import PromiseFile
from allotment.secret import Secret
from allotment_promises.catalogue import read
from allotment_promises.launcher import Launcher
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
    assert file == PromiseFile("check_url_available", {"url": "http://a/", "verify": "0"}, 300.0, 0.0, 4, 6)


def test_counts_of_failures(make_recipe: Make) -> None:
    _, file = written(make_recipe, promise="a", failures="3", window="5", period="7", timeout="8", config_frequency="9")
    assert file == PromiseFile("a", {"frequency": "9"}, 7.0, 8.0, 3, 5), "only SlapOS's module has a frequency"


def test_when_it_runs_and_what_follows(make_recipe: Make) -> None:
    given = {"promise": "a", "over": "600", "jitter": "5", "only": "anomaly", "bang": "true", "after": "db net"}
    _, file = written(make_recipe, **given)
    assert file == PromiseFile("a", {}, over=600.0, jitter=5.0, only="anomaly", bang=True, after=("db", "net"))


def test_a_module_of_slapos_may_ask_for_a_bang_and_count_with_underscores(make_recipe: Make) -> None:
    _, file = written(
        make_recipe,
        module="slapos.promise.plugin.check_command_execute",
        config_command="test -e a && echo b",
        **{"config-failure_amount": "2", "config-result_count": "3", "config-bang-on-failure": "True"},
    )
    options = {"command": "/bin/sh -c 'test -e a && echo b'"}
    assert file == PromiseFile("check_command_execute", options, failures=2, window=3, bang=True)


MINE = """
from zope.interface import implementer
from slapos.grid.promise import interface
from slapos.grid.promise.generic import GenericPromise

@implementer(interface.IPromise)
class Mine(GenericPromise):
  def __init__(self, config):
    super(Mine, self).__init__(config)
    self.setPeriodicity(float(self.getConfig('frequency')))
  def sense(self):
    self.logger.error("%s %r", self.getName(), self.getConfig('text'))
"""


def test_a_module_of_ones_own_is_run_by_the_node(partition: Any) -> None:
    (partition.software / "mine.py").write_text(MINE)
    secret = r'it"s \ quoted'
    partition.parameters = {"text": Secret(secret)}
    profile = f"""
        [buildout]
        parts = own
        [slap]
        recipe = allotment.recipes:slapconfiguration
        [own]
        recipe = allotment.recipes:promise
        file = {partition.software}/mine.py
        class = Mine
        paths = {Path(zope.interface.__file__).parents[2]}
        period = 300
        output = etc/plugin/own.py
        config-text = ${{slap:configuration.text}}
        """
    assert partition.run(profile).error == ""
    assert stat.S_IMODE((partition.folder / "etc/plugin/own.py").stat().st_mode) == 0o600
    with Launcher() as launcher:
        (result,) = launcher.run(partition.folder)
    assert (result.name, result.status, result.message) == ("own", "failed", f"own.py {secret!r}")
    assert [item.file.period for item in read(partition.folder)] == [300.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "[part] promise, module, file: none of them is given. Give one of them."),
        ({"promise": "a", "module": "b"}, "[part] promise, module, file: promise and module can't go together. Give one of them."),
        ({"promise": "a", "name": "a", "output": "b"}, "[part] name, output: both name the promise. Give one of them."),
        ({"module": "slapos.promise.plugin.check_gps_lock"}, "[part] paths: no promise type stands for slapos.promise.plugin.check_gps_lock, and nothing says where it is. Give the folders of its distributions, like ${part:location}/lib."),
        ({"file": "check-it.py"}, "[part] file, class: check-it, RunPromise: no names of Python. Correct them."),
        ({"file": "check.py", "class": "os;x"}, "[part] file, class: check, os;x: no names of Python. Correct them."),
        ({"file": "check.py", "window": "3"}, "[part] window: a module that is run as it is decides it itself. Leave it out."),
        ({"promise": "a", "after": "b part"}, "[part] after: a promise does not explain itself. Take part out."),
        ({"promise": "a", "only": "never"}, "[part] only: 'never' is not one of"),
        ({"promise": "a", "over": "-1"}, "[part] period: period, timeout, over and jitter are seconds, zero or above. Write seconds, like 60."),
        ({"module": "a", "class": "Other"}, "[part] class: 'Other' is not RunPromise. Leave it out."),
        ({"module": "a", "output": "etc/plugin/a b.py"}, "[part] output: 'a b' is not a promise's name."),
        ({"module": "a", "config-frequency": "often"}, "[part] config-frequency: 'often' is not a number. Write it like 5."),
        ({"module": "a", "config-result-count": "nan"}, "[part] config-result-count: 'nan' is not a number. Write it like 5."),
        ({"module": "a", "config-failure-amount": "1.5"}, "[part] config-failure-amount: 1.5 is not a whole number. Write it like 3."),
        ({"promise": "a", "failures": "1001"}, "[part] failures: 1001 is not from 0 to 1000. Count fewer runs."),
        ({"promise": "a", "failures": "3", "window": "2"}, "[part] failures: 3 is above window. Look at more runs."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(make_recipe: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(promise.Recipe, options)
