# SPDX-License-Identifier: Apache-2.0
"""Every alias leads to a recipe and to options that exist, and the corpus uses each."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from allotment.cli import main
from allotment.commands.plugins import describe_all
from allotment.errors import AllotmentError
from allotment_recipes import aliases, base, recipe_loading
from allotment_recipes.aliases import Alias, absent
from allotment_recipes.plugin import RECIPES

HERE = Path(__file__).parent


def every_alias() -> Iterator[tuple[str, Alias]]:
    for distribution in aliases.distributions():
        for name, alias in aliases.table(distribution).items():
            yield f"{distribution}:{name}", alias


ALL = dict(every_alias())


@pytest.mark.parametrize("spec", ALL)
def test_an_alias_leads_to_a_recipe_and_to_options_of_it(spec: str) -> None:
    alias = ALL[spec]
    assert alias.recipe in RECIPES
    recipe = recipe_loading.load("part", spec)
    for option in (*alias.renamed.values(), *alias.defaults):
        assert aliases.takes(recipe, option), option
    for option in (*alias.renamed, *alias.dropped):
        assert not aliases.has(recipe, option), f"{option} is an option of ours as well"


def test_the_corpus_uses_every_alias() -> None:
    used: set[str] = set()
    for path in HERE.glob("*/**/*"):
        if path.is_file() and path.suffix != ".pyc":  # a test of a profile may be in Python, and leaves its own
            for spec in re.findall(r"recipe\s*=\s*([\w.]+(?::[\w.-]+)?)", path.read_text()):
                distribution, name = recipe_loading.split(spec)
                used.add(f"{recipe_loading.canonical(distribution)}:{name}")
    assert sorted(ALL.keys() - used) == []


def test_a_name_may_be_spelled_as_python_spells_distributions() -> None:
    found = recipe_loading.alias("slapos-cookbook:wrapper")
    assert found is not None
    assert found is recipe_loading.alias(" SlapOS.Cookbook:wrapper ")


def test_our_own_recipes_are_no_aliases() -> None:
    assert recipe_loading.alias("allotment.recipes:wrapper") is None


def test_an_unknown_recipe_of_a_known_distribution_is_an_error_that_suggests_the_nearest() -> None:
    with pytest.raises(
        AllotmentError, match=r"\[x\] recipe: slapos\.cookbook has no recipe 'mkdirectroy'.*mkdirectory"
    ):
        recipe_loading.find("x", "slapos.cookbook:mkdirectroy")


def test_the_list_of_plugins_has_every_alias(capsys: pytest.CaptureFixture[str]) -> None:
    listed = {item["name"]: item["other_names"] for item in describe_all()["items"] if item["kind"] == "recipe"}
    found = sorted({name for names in listed.values() for name in names})
    assert found == sorted(aliases.written_there(*recipe_loading.split(spec)) for spec in ALL)
    assert "slapos.recipe.cmmi" in listed["cmmi"]
    assert listed["download"] == ["hexagonit.recipe.download", "slapos.recipe.build:download"]
    assert main(["plugins"]) == 0
    assert "elsewhere: plone.recipe.command\n" in capsys.readouterr().out


def test_a_recipe_of_others_has_no_names_of_ours() -> None:
    class Recipe(base.GenericBaseRecipe[Any]):
        """Somebody's."""

    assert Recipe.other_names("wrapper") == []


LOGGED = """\
    [buildout]
    parts = one two
    [one]
    recipe = slapos.cookbook:wrapper
    command-line = true
    parameters-extra = true
    wrapper-path = ${buildout:directory}/${:_buildout_section_name_}
    [two]
    <= one
    """


def test_what_is_dropped_is_said_once_a_run(partition: Any) -> None:
    assert partition.run(LOGGED).error == ""
    assert partition.log.read_text().count("parameters-extra has no effect here") == 1


def test_an_alias_and_its_recipe_are_the_same_part(release: Any) -> None:
    text = """\
        [buildout]
        parts = one
        [one]
        recipe = {recipe}
        {input} = x
        {output} = ${{buildout:directory}}/one
        """
    ours = release.build(text.format(recipe="allotment.recipes:template.jinja2", input="inline", output="output"))
    theirs = release.build(text.format(recipe="slapos.recipe.template:jinja2", input="inline", output="rendered"))
    assert (ours.error, theirs.error) == ("", "")
    assert "recipe = allotment.recipes:template.jinja2" in (release.folder / ".installed.cfg").read_text()
    assert ours.parts == theirs.parts


def test_a_recipe_that_could_not_be_imported_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = tmp_path / "late-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: late\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[zc.buildout]\ndefault = late_recipe:Recipe\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AllotmentError, match=r"\[part\] recipe: late can't be imported"):
        recipe_loading.load("part", "late")
    (tmp_path / "late_recipe.py").write_text("class Recipe:\n    pass\n")
    importlib.invalidate_caches()
    assert recipe_loading.load("part", "late").__name__ == "Recipe"


def test_a_warm_process_has_read_the_types_of_options_before_it_forks() -> None:
    recipe = recipe_loading.load("part", "allotment.recipes:wrapper")
    base._known.cache_clear()
    base.prepare_options(recipe)
    assert base._known.cache_info().currsize == 1


@pytest.mark.parametrize(
    ("distribution", "name"), [(owner, name) for owner, names in absent.ABSENT.items() for name in names]
)
def test_what_has_no_counterpart_names_a_recipe_that_does_the_same(distribution: str, name: str) -> None:
    assert name not in aliases.table(distribution)
    assert set(RECIPES) & set(re.findall(r"[a-z0-9.-]+", absent.ABSENT[distribution][name]))
    with pytest.raises(AllotmentError, match=rf"\[part\] recipe: {distribution}:{re.escape(name)} has no counterpart"):
        recipe_loading.load("part", f"{distribution}:{name}")
