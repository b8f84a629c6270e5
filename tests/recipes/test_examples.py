# SPDX-License-Identifier: Apache-2.0
"""The profiles that the reference shows: without problems, and those that need nothing from elsewhere are run."""

from pathlib import Path

import pytest

from allotment.messages.instance import ChildAnswer, InstanceState
from allotment_recipes.commands.lint import check
from allotment_recipes.plugin import RECIPES
from allotment_recipes.testing import Partition

FOLDER = Path(__file__).parents[2] / "docs/reference/examples"
# They fetch sources, or start programs that not every machine has.
ELSEWHERE = {
    *("backup.export", "backup.import", "backup.pull", "backup.push", "backup.queue", "backup.ssh-keys"),
    *(
        "backup.takeover",
        "cmake",
        "cmmi",
        "download",
        "download-unpacked",
        "gitclone",
        "go",
        "make",
        "mariadb.update",
        "meson",
        "npm",
        "postgres",
        "python.develop",
        "python.eggs",
    ),
    *("python.extension", "python.scripts", "redis", "source", "ssh.key"),
}


@pytest.mark.parametrize("name", RECIPES)
def test_an_example_has_no_problems(name: str) -> None:
    path = FOLDER / f"{name}.cfg"
    assert f"recipe = allotment.recipes:{name}\n" in path.read_text()
    assert check([path], frozenset(), None) == []


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in ELSEWHERE])
def test_an_example_runs(name: str, partition: Partition) -> None:
    partition.parameters = {"greeting": "Hello"}
    pages = {f"page-{number}": ChildAnswer(InstanceState.STARTED, {"url": "http://a/"}) for number in (1, 2, 3)}
    partition.answers = {**pages, "database": ChildAnswer(InstanceState.STARTED, {"url": "postgresql://a/"})}
    partition.run_twice((FOLDER / f"{name}.cfg").read_text())
