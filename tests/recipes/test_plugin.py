# SPDX-License-Identifier: Apache-2.0
import importlib.metadata
import inspect
import tomllib
from pathlib import Path

import allotment_recipes.plugin
from allotment.options import describe_options
from allotment.plugins import load
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.recipe_loading import installed

FOLDER = Path(allotment_recipes.plugin.__file__).parents[2]


def test_the_two_registries_of_recipes_agree() -> None:
    hooks = {item.name: item.target for item in allotment_recipes.plugin.allotment_recipe_types()}
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["zc.buildout"] == hooks
    found = {
        point.name: point.value
        for point in importlib.metadata.entry_points(group="zc.buildout")
        if point.value.startswith("allotment_recipes")
    }
    assert found == hooks, "run 'pip install -e recipes' again"
    assert {name for owner, name in installed() if owner == "allotment-recipes"} == set(hooks)


def test_each_recipe_and_option_is_documented() -> None:
    for item in allotment_recipes.plugin.allotment_recipe_types():
        recipe = load(item.target)
        assert issubclass(recipe, GenericBaseRecipe)
        assert recipe.__doc__, item.name
        for option in describe_options(recipe.options_class):
            assert option.doc, f"{item.name}: {option.name}"


def test_a_recipe_that_builds_into_the_store_has_a_build_version() -> None:
    for item in allotment_recipes.plugin.allotment_recipe_types():
        recipe = load(item.target)
        classes = [cls for cls in recipe.__mro__ if cls is not GenericBaseRecipe]
        methods = [member for cls in classes for member in vars(cls).values() if inspect.isfunction(member)]
        builds = any(GenericBaseRecipe.store_path.__name__ in method.__code__.co_names for method in methods)
        assert builds == (recipe.build_version > 0), item.name


def test_a_recipe_that_undoes_more_than_its_files_does_so_under_upstream_too() -> None:
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]
    undoing = {
        item.name: f"{item.target}.uninstall"
        for item in allotment_recipes.plugin.allotment_recipe_types()
        if hasattr(load(item.target), "uninstall")
    }
    assert project["entry-points"]["zc.buildout.uninstall"] == undoing
