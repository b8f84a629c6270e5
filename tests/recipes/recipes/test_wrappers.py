# SPDX-License-Identifier: Apache-2.0
"""Recipe ``wrappers``."""

import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.errors import AllotmentError
from allotment_recipes.recipes import wrappers

Make = Callable[..., Any]


def test_each_line_is_a_script_of_its_own(make_recipe: Make, tmp_path: Path) -> None:
    recipe = make_recipe(
        wrappers.Recipe,
        {
            "commands": "etc/service/one = /bin/echo one $HOME = 'a b'\n\nbin/two = /usr/bin/env",
            "environment": "WORD=two words",
        },
    )
    one, two = recipe.install()
    assert (one, two) == (tmp_path / "etc/service/one", tmp_path / "bin/two")
    assert stat.S_IMODE(one.stat().st_mode) == 0o700
    said = subprocess.run([one, "more"], capture_output=True, text=True, check=True, timeout=30).stdout
    assert said == "one $HOME = a b more\n"
    said = subprocess.run([two], capture_output=True, text=True, check=True, timeout=30).stdout
    assert "WORD=two words" in said.splitlines()


def test_a_script_that_is_listed_no_longer_is_removed(partition: Any) -> None:
    profile = """\
        [buildout]
        parts = shop
        [shop]
        recipe = allotment.recipes:wrappers
        commands =
          etc/service/one = /bin/true
          etc/service/two = /bin/true
        """
    partition.run_twice(profile)
    partition.run_twice(profile.replace("etc/service/two = /bin/true", ""))
    assert sorted(path.name for path in (partition.folder / "etc/service").iterdir()) == ["one"]
    assert partition.remove("shop") == ["etc/service/one"]


@pytest.mark.parametrize(
    ("commands", "message"),
    [
        ("", r"commands: is empty\. Write lines like: etc/service/shop = bin/shop"),
        ("/bin/true", r"commands: '/bin/true' is not a script and its program"),
        ("= /bin/true", r"commands: '= /bin/true' is not a script"),
        ("a = ", r"commands: 'a =' is not a script"),
        ("a = ''", r"is not a script and its program"),
        ("a = 'b", r"commands: No closing quotation in \"a = 'b\"\. Close the quotation"),
        ("a = b\na = c", r"commands: a is there twice\. Give each program a script of its own"),
    ],
)
def test_what_is_no_script_is_named(make_recipe: Make, commands: str, message: str) -> None:
    with pytest.raises(AllotmentError, match=rf"\[part\] {message}" if message.startswith("commands") else message):
        make_recipe(wrappers.Recipe, {"commands": commands})


def test_a_secret_goes_into_the_environment_only(partition: Any) -> None:
    profile = """\
        [buildout]
        parts = shop
        [password]
        recipe = allotment.recipes:password
        [shop]
        recipe = allotment.recipes:wrappers
        commands = bin/shop = /bin/true {word}
        environment =
          PASSWORD=${{password:passwd}}
        """
    assert "[shop] commands: holds a secret" in partition.run(profile.format(word="${password:passwd}")).error
    partition.run_twice(profile.format(word="-v"))
    assert "export PASSWORD=" in partition.text("bin/shop")


def test_a_value_with_lines_makes_no_script_of_its_own(partition: Any) -> None:
    profile = """\
        [buildout]
        parts = shop
        [slap]
        recipe = allotment.recipes:slapconfiguration
        [lines]
        all =
          bin/one = /bin/true
          bin/two = /bin/true
        [shop]
        recipe = allotment.recipes:wrappers
        commands =
          {command}
        """
    command = "bin/shop = /bin/echo ${slap:configuration.title}"
    partition.parameters = {"title": "x\nbin/evil = /bin/false"}
    result = partition.run(profile.format(command=command))
    assert result.error.startswith("[shop] commands: a value has more than one line. ")
    assert not (partition.folder / "bin").exists()
    partition.parameters = {"title": "x"}
    partition.run_twice(profile.format(command=command))
    partition.run_twice(profile.format(command="${lines:all}"))
    assert sorted(path.name for path in (partition.folder / "bin").iterdir()) == ["one", "two"]
