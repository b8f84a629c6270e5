# SPDX-License-Identifier: Apache-2.0
"""Recipes of others that are built ahead, and do there what they should not."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.recipes.graph.conftest import Graph

from allotment_recipes.engine import BuildEngine

RECIPE = """\
import os
from dataclasses import dataclass
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.part_folder import filling

@dataclass(frozen=True)
class Options:
    reads: str = ""
    ends: str = ""
    note: str = ""

class Recipe(GenericBaseRecipe[Options]):
    build_version = 1
    builds_ahead = True

    def prepare(self):
        self.location = self.store_path(self.name, "1")
        self.publish_option("location", self.location)

    def install(self):
        with filling(self, self.location, "1") as folder:
            if folder is None:
                return [self.location]
            print("this is printed")
            if self.options.reads:
                (folder / "read").write_text(self.buildout[self.options.reads]["location"])
            if self.options.ends == "badly":
                1 / 0
            if self.options.ends == "at once":
                os._exit(3)
        return [self.location]

class Here(GenericBaseRecipe[Options]):
    build_version = 1

    def install(self):
        self.buildout[self.options.reads]["location"]
        return []
"""


@pytest.fixture
def others(graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Graph]:
    """A graph whose parts can have the recipe ``other``, of a distribution that is on PYTHONPATH."""
    info = tmp_path / "site/other-1.0.dist-info"
    info.mkdir(parents=True)
    (tmp_path / "site/other.py").write_text(RECIPE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[zc.buildout]\ndefault = other:Recipe\nhere = other:Here\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    with BuildEngine() as engine:
        yield replace(graph, release=replace(graph.release, engine=engine))


def write(graph: Graph, *sections: str) -> None:
    names = " ".join(section.partition("]")[0][1:] for section in sections)
    text = "".join(section.replace("]", "]\nrecipe = other", 1) + "\n" for section in sections)
    graph.release.write("software.cfg", f"[buildout]\nparts = {names}\n{text}")


@pytest.mark.parametrize("plain", ["", "[plain]\nlocation = ${first:location}"])
def test_a_part_that_is_read_only_while_another_is_installed_is_named(others: Graph, plain: str) -> None:
    write(others, "[first]", f"[second]\nreads = {'plain' if plain else 'first'}")
    path = others.release.root / "software.cfg"
    text = path.read_text()
    path.write_text(f"{text}{plain}\n")
    error = others.build().error
    assert error.startswith("[second] reads [first] only while it is installed: that part may not be built yet\n")
    assert error.endswith("Refer to it, or add '<part-dependencies> = first' to [second].")
    path.write_text(text.replace("reads = ", "<part-dependencies> = first\nreads = ") + f"{plain}\n")
    assert others.build().error == ""


@pytest.mark.parametrize("keep_going", [False, True])
def test_a_part_that_is_found_only_while_another_is_installed_is_named(others: Graph, keep_going: bool) -> None:
    write(others, "[first]", "[user]\nreads = late", "[last]")
    path = others.release.root / "software.cfg"
    text = path.read_text().replace("other\nreads", "other:here\nreads") + "[late]\nrecipe = other\n"
    path.write_text(text)
    assert others.build(keep_going=keep_going).error == (
        "[late] is read only while another part is installed, and nothing else makes it a part. "
        "Refer to it where it is read, or add late to [buildout] parts."
    )
    assert others.ended() == {"first": "built", "last": "built", "user": "failed"}
    path.write_text(text.replace("parts = first", "parts = late first"))
    assert others.build().error == ""


def test_a_bug_is_one_line_and_its_traceback_and_what_it_printed_are_in_the_parts_log(others: Graph) -> None:
    write(others, "[bad]\nends = badly")
    log = others.place / "built/.log/bad.log"
    assert others.build().error == f"[bad] ZeroDivisionError: division by zero\n  log: {log}."
    assert log.read_text().startswith("this is printed\n")
    assert "1 / 0" in log.read_text()
    assert "this is printed" not in others.log().read_text()


def test_a_process_that_just_ends_is_told(others: Graph) -> None:
    write(others, "[bad]\nends = at once")
    assert others.build().error.startswith("[bad] its process ended with exit code 3")


def test_parts_of_one_release_only_are_built_ahead_too(others: Graph) -> None:
    write(others, "[one]", "[two]", "[three]\nnote = ${one:location} ${two:location}")
    assert others.build().error == ""
    assert others.ended() == dict.fromkeys(("one", "two", "three"), "built")
