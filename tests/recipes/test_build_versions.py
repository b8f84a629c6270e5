# SPDX-License-Identifier: Apache-2.0
"""A recipe whose code changes must say whether the parts it built before are still what it would build now.

``build_versions.json`` beside this file holds, for each recipe that builds into a store, its ``build_version`` and the
hash of its code. When the code changes either ``build_version`` is raised, and every part is built anew, or the new
code gets a waiver with a reason: it gives the same files.
"""

import ast
import hashlib
import importlib
import inspect
import io
import json
import tokenize
from pathlib import Path
from typing import Any

import pytest

import allotment_recipes
from allotment_recipes.plugin import RECIPES

RECORD = Path(__file__).with_name("build_versions.json")
# What a run is about, where parts are put, how they are found, fetched, checked and reported: none of it changes what
# is in them.
FRAMEWORK = frozenset(
    {
        "base",
        "cached_part",
        "compiler",
        "context",
        "hermetic.root",
        "hermetic.sandbox",
        "hermetic.surroundings",
        "hermetic.warning",
        "option_error",
        "part_checks",
        "part_folder",
        "part_promises",
        "providers.npm",
        "providers.source_server",
        "providers.transfer",
        "providers.url",
        "recipe_loading",
        "shared_store",
        "source_cache.notes",
        "source_options",
        "sources",
    }
)


def building_recipes() -> dict[str, str]:
    """Map each of our recipes that builds parts to its module."""
    modules = {name: f"allotment_recipes.recipes.{module}" for name, module in RECIPES.items()}
    return {name: module for name, module in modules.items() if importlib.import_module(module).Recipe.build_version}


def source(module: str) -> Path:
    return Path(str(inspect.getsourcefile(importlib.import_module(module))))


def code_of(module: str) -> tuple[str, set[str]]:
    """Return a module's code without comments, docstrings and blank lines, and the modules of ours that it imports.

    It is the text, not a tree made a text again: that comes out differently with each version of Python.
    """
    text = source(module).read_text()
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            lines[token.start[0] - 1] = lines[token.start[0] - 1][: token.start[1]]
    imported = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("allotment_recipes"):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            imported |= {node.module} if node.module != allotment_recipes.__name__ else names
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines[node.lineno - 1 : node.end_lineno] = [""] * ((node.end_lineno or node.lineno) - node.lineno + 1)
    code = "\n".join(line.rstrip() for line in lines if line.strip())
    return code, {name for name in imported if not _is_framework(name.partition(".")[2])}


def _is_framework(name: str) -> bool:
    return name in FRAMEWORK or name.startswith("graph.")  # when what is built


def code_hash(module: str) -> str:
    """Return the hash of all code of ours that decides what the recipe of ``module`` builds."""
    found: dict[str, str] = {}
    todo = {module}
    while todo:
        name = todo.pop()
        found[name], imported = code_of(name)
        todo |= imported - set(found)
    text = "\n".join(f"# {name}\n{code}" for name, code in sorted(found.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def problem(name: str, version: int, code: str, entry: dict[str, Any] | None) -> str:
    """Return what is wrong with a recipe's record, and the line that would put it right; empty when nothing is."""
    wanted = json.dumps({name: {"build_version": version, "code": code, "waivers": {}}})
    if entry is None:
        return f"{name} is not recorded: add {wanted}"
    if entry["build_version"] != version:
        return f"{name} has a new build_version: record {wanted}"
    if code == entry["code"] or code in entry["waivers"]:
        return ""
    return (
        f"the code of {name} has changed: raise its build_version, so that all parts are built anew, or, if it gives"
        f' the same files, record a waiver: "{code}": "<the reason>"'
    )


@pytest.mark.parametrize("name", sorted(building_recipes()))
def test_changed_code_has_another_build_version_or_a_waiver(name: str) -> None:
    module = building_recipes()[name]
    version = importlib.import_module(module).Recipe.build_version
    assert problem(name, version, code_hash(module), json.loads(RECORD.read_text()).get(name)) == ""


def test_no_recipe_is_recorded_that_is_not_there() -> None:
    assert sorted(json.loads(RECORD.read_text())) == sorted(building_recipes())


def test_every_waiver_has_a_reason() -> None:
    for entry in json.loads(RECORD.read_text()).values():
        assert all(len(reason) > 20 for reason in entry["waivers"].values())


def test_a_change_without_a_bump_is_found_and_a_bump_or_a_waiver_settles_it() -> None:
    entry = {"build_version": 1, "code": "a" * 64, "waivers": {"b" * 64: "only the error's text is another"}}
    assert problem("cmmi", 1, "a" * 64, entry) == ""
    assert problem("cmmi", 1, "b" * 64, entry) == ""
    assert "raise its build_version" in problem("cmmi", 1, "c" * 64, entry)
    assert "has a new build_version: record" in problem("cmmi", 2, "c" * 64, entry)
    assert "is not recorded" in problem("new", 1, "c" * 64, None)


def test_the_hash_follows_what_a_recipe_imports_and_no_comment() -> None:
    text, imported = code_of("allotment_recipes.recipes.cmmi")
    assert "allotment_recipes.source_build" in imported
    options, below = code_of("allotment_recipes.source_build")
    assert "allotment_recipes.compiled_part" in below
    assert "allotment_recipes.build_environment" in code_of("allotment_recipes.compiled_part")[1]
    assert "allotment_recipes.shared_store" not in imported
    assert "class Recipe(SourceBuild[Options]):\n    build_version = " in text
    assert "SPDX" not in text
    assert 'sha256sum: str = ""\n    url: str = ""\n' in options, "the comments that document options are cut off"
