# SPDX-License-Identifier: Apache-2.0
"""What a recipe undoes when its part goes, under our driver and under upstream's command."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from allotment_recipes import recipe_loading
from allotment_recipes.testing import LocalEngine, Partition, Upstream

RECIPES = """
import dataclasses, pathlib
from allotment_recipes import GenericBaseRecipe

def note(name, options, what):
    with open(options["log"], "a") as file:
        file.write(f"{what} {name} {options['value']} {pathlib.Path(options['log']).with_name('file').exists()}\\n")

@dataclasses.dataclass(frozen=True)
class Options:
    log: str
    value: str

class Recipe(GenericBaseRecipe[Options]):
    def install(self):
        note(self.name, self.raw, "install")
        return [self.write(pathlib.Path(self.options.log).with_name("file"), self.options.value)]

    @classmethod
    def uninstall(cls, name, options):
        note(name, options, "uninstall")

class Plain:
    def __init__(self, buildout, name, options):
        self.name, self.options = name, options

    def install(self):
        note(self.name, self.options, "install")
        return []

    update = install

def undo(name, options):
    note(name, options, "undo")
"""
POINTS = """
[zc.buildout]
ours = undoing:Recipe
plain = undoing:Plain
[zc.buildout.uninstall]
ours = undoing:Recipe.uninstall
plain = undoing:undo
"""
PROFILE = """
[buildout]
parts = {parts}
[one]
recipe = undoing:{recipe}
log = ${{buildout:directory}}/log
value = {value}
[bad]
recipe = allotment.recipes:wrapper
command-line = x
wrapper-path = log/x
"""


@pytest.fixture
def undoing(tmp_path: Path, partition: Partition, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A distribution of somebody else, found by both drivers; ``partition`` runs in this process."""
    folder = tmp_path / "site"
    (folder / "undoing-1.0.dist-info").mkdir(parents=True)
    (folder / "undoing.py").write_text(RECIPES)
    (folder / "undoing-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: undoing\nVersion: 1.0\n")
    (folder / "undoing-1.0.dist-info" / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    recipe_loading.installed.cache_clear()
    partition.engine = LocalEngine()
    yield folder
    recipe_loading.installed.cache_clear()


def lines(folder: Path) -> list[str]:
    """Return what was noted since the last call."""
    found = (folder / "log").read_text().splitlines() if (folder / "log").exists() else []
    (folder / "log").unlink(missing_ok=True)
    return found


@pytest.mark.parametrize(("recipe", "word"), [("ours", "uninstall"), ("plain", "undo")])
def test_a_part_undoes_what_it_did_before_its_files_go(
    partition: Partition, undoing: Path, recipe: str, word: str
) -> None:
    has_file = recipe == "ours"
    assert partition.run(PROFILE.format(parts="one", recipe=recipe, value="1")).outcome == "done"
    assert lines(partition.folder) == ["install one 1 False"]
    assert partition.run(PROFILE.format(parts="one", recipe=recipe, value="2")).outcome == "done"
    assert lines(partition.folder) == [f"{word} one 1 {has_file}", f"install one 2 {has_file}"], "made anew"
    assert partition.run(PROFILE.format(parts="", recipe=recipe, value="2")).outcome == "done"
    assert lines(partition.folder) == [f"{word} one 2 {has_file}"]
    assert not (partition.folder / "file").exists()


def test_a_run_that_fails_undoes_nothing(partition: Partition, undoing: Path) -> None:
    partition.run(PROFILE.format(parts="one", recipe="ours", value="1"))
    assert partition.run(PROFILE.format(parts="bad", recipe="ours", value="1")).outcome == "failed"
    assert lines(partition.folder) == ["install one 1 False"]
    assert partition.run("[buildout]\nparts =\n").outcome == "done"
    assert lines(partition.folder) == ["uninstall one 1 True"]


@pytest.mark.parametrize(("recipe", "word"), [("ours", "uninstall"), ("plain", "undo")])
def test_upstream_undoes_the_same(upstream: Upstream, undoing: Path, recipe: str, word: str) -> None:
    has_file = recipe == "ours"
    done = upstream.run(PROFILE.format(parts="one", recipe=recipe, value="1"))
    assert done.returncode == 0, done.stdout
    upstream.run("[buildout]\nparts =\n")
    assert lines(upstream.folder) == ["install one 1 False", f"{word} one 1 {has_file}"]


def test_a_part_whose_recipe_is_gone_loses_its_files_all_the_same(partition: Partition, undoing: Path) -> None:
    partition.run(PROFILE.format(parts="one", recipe="ours", value="1"))
    (undoing / "undoing-1.0.dist-info" / "entry_points.txt").unlink()
    recipe_loading.installed.cache_clear()
    assert partition.run("[buildout]\nparts =\n").outcome == "done"
    assert not (partition.folder / "file").exists()
    assert "its files are removed, but its recipe is not there: [one] recipe: " in partition.log.read_text()


def test_data_that_is_kept_is_said(partition: Partition) -> None:
    partition.engine = LocalEngine()
    profile = """
        [buildout]
        parts = folder secret other
        [folder]
        recipe = allotment.recipes:mkdirectory
        mode = 0700
        data = ${buildout:directory}/srv/data
        [secret]
        recipe = allotment.recipes:password
        file = ${buildout:directory}/etc/password
        [other]
        recipe = allotment.recipes:password
        file = ${buildout:directory}/etc/other
        create-once = false
        """
    partition.run_twice(profile)
    assert ": kept " not in partition.log.read_text()
    assert partition.remove("folder", "secret", "other") == ["etc/other"]
    said = partition.log.read_text()
    assert said.count(": kept ") == 2
    for name in ("srv/data", "etc/password"):
        assert f"kept {partition.folder}/{name}: it holds data" in said
        assert (partition.folder / name).exists()
