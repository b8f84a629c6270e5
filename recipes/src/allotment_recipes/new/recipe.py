# SPDX-License-Identifier: Apache-2.0
"""A new recipe."""

from pathlib import Path

from allotment_recipes.new.home import LICENCE, Home, choose, fill, with_recipe, write
from allotment_recipes.new.writing import check_name, module_name


def new_recipe(folder: Path, name: str, distribution: str) -> tuple[Home, list[Path]]:
    """Write a recipe with its test, and enter it in both registries; return what was written."""
    check_name(name, "recipe", "greeting")
    home = choose(folder, name, distribution, _ours)
    module = module_name(name)
    words = {"name": name, "module": module, "distribution": home.distribution, "licence": home.licence}
    words["import"] = f"{home.package}.recipes" if home.source.name == "recipes" else home.package
    texts = home.texts(home.plugin, home.project)
    changed = with_recipe(home, texts, name, module)
    files = {
        home.source / f"{module}.py": fill(RECIPE, words),
        home.tests / f"test_{module}.py": fill(TEST, words),
    }
    example = f"docs/reference/examples/{name}.cfg" if home.licence else f"examples/{name}/buildout.cfg"
    files[home.root / example] = fill(EXAMPLE, words)
    return home, write(home, texts, changed, files)


def _ours(root: Path) -> Home:
    source = root / "recipes/src/allotment_recipes"
    return Home(
        *(root, "allotment.recipes", "allotment_recipes", source / "recipes", root / "tests/recipes/recipes"),
        *(source / "plugin.py", root / "recipes/pyproject.toml", LICENCE),
    )


RECIPE = '''\
<<licence>>"""Recipe ``<<distribution>>:<<name>>``: a file with a text."""

from dataclasses import dataclass
from pathlib import Path

from allotment.options import Mode, OptionProblem
from allotment_recipes import GenericBaseRecipe


@dataclass(frozen=True)
class Options:
    output: Path  # the file that is written
    text: str  # what it says
    mode: Mode = Mode(0o644)  # permissions of output


class Recipe(GenericBaseRecipe[Options]):
    """Write ``text`` to ``output``; other sections read the file's path as ``${section:output}``."""

    def prepare(self) -> None:
        if not self.options.text.strip():
            raise OptionProblem("text", "is empty", "Write what the file should say")
        self.output = self.path(self.options.output)
        self.publish_option("output", self.output)

    def install(self) -> list[Path]:
        """Write the file, which goes when the part goes."""
        return [self.write(self.output, f"{self.options.text}\\n", self.options.mode)]
'''
TEST = '''\
<<licence>>import re
from collections.abc import Callable
from typing import Any

import pytest

from allotment.errors import AllotmentError
from allotment_recipes.testing import Partition, Upstream
from <<import>>.<<module>> import Recipe

PROFILE = """
    [buildout]
    parts = part

    [part]
    recipe = <<distribution>>:<<name>>
    output = ${buildout:directory}/etc/text
    text = Hello
    mode = 0640
    """


def test_the_file_is_written_once_and_goes_with_its_part(partition: Partition) -> None:
    partition.run_twice(PROFILE)
    assert partition.tree() == {"etc/text": ("0640", "Hello\\n")}
    assert partition.remove("part") == ["etc/text"]


def test_a_plain_buildout_uses_it(upstream: Upstream) -> None:
    upstream.run_twice(PROFILE)
    assert upstream.text("etc/text") == "Hello\\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "o"}, "[part] text: missing option. Add 'text = ...'."),
        ({"output": "o", "text": " "}, "[part] text: is empty. Write what the file should say."),
        ({"output": "o", "text": "x", "mode": "rw"}, "[part] mode: 'rw' is not an octal number. Write it like 0644."),
        ({"output": "o", "txet": "x"}, "[part] txet: unknown option. Did you mean 'text'?"),
    ],
)
def test_a_mistake_is_named_with_its_fix(
    make_recipe: Callable[..., Any], options: dict[str, str], message: str
) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(Recipe, options)
'''
EXAMPLE = """\
<<licence>>[buildout]
parts = <<name>>

[<<name>>]
recipe = <<distribution>>:<<name>>
output = ${buildout:directory}/hello.txt
text = Hello
"""
