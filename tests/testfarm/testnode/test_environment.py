# SPDX-License-Identifier: Apache-2.0
"""What a test node says of itself: a job that ran with other versions proves nothing here."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from allotment.codec import dumps
from allotment.errors import AllotmentError
from allotment_recipes.recipes.python_scripts import Recipe
from allotment_testfarm.engine.wire_server import MESSAGE
from allotment_testfarm.testnode import environment as module
from allotment_testfarm.testnode.environment import Watched, environment
from allotment_testfarm.testnode.surroundings import Surroundings
from allotment_testfarm.wire import NodeHello


def put_distribution(folder: Path, number: str) -> None:
    """Install a distribution without files."""
    (folder / "twice.dist-info").mkdir(parents=True)
    (folder / "twice.dist-info/METADATA").write_text(f"Metadata-Version: 2.1\nName: twice\nVersion: {number}\n")


def test_versions_of_all_that_is_installed_are_told() -> None:
    found = environment()
    assert found["python"] == platform.python_version()
    assert found["zc-buildout"] == version("zc.buildout")
    assert found["recipe allotment.recipes:python.scripts"] == str(Recipe.build_version)
    assert platform.machine() in found["build platform"]


def test_the_compiler_and_the_machines_programs_are_told() -> None:
    found = environment()
    number = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True, check=True).stdout.strip()
    assert found["compiler"].startswith(f"gcc {number}")
    assert len(found["tool make"]) == 16
    assert set(found) >= {f"tool {name}" for name in module.TOOLS}


def test_another_program_of_the_same_name_is_another_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HOST_PATH", f"{tmp_path}:{module.HOST_PATH}")
    before = environment()["tool make"]
    (tmp_path / "make").write_text("#!/bin/sh\n")
    (tmp_path / "make").chmod(0o755)
    assert environment()["tool make"] != before


def test_what_is_installed_from_a_folder_is_told_with_its_hash() -> None:
    told, digest = environment()["allotment-recipes"].split()
    assert told == version("allotment.recipes")
    assert len(digest) == 16


def test_of_two_distributions_with_one_name_the_imported_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_distribution(tmp_path / "first", "1")
    put_distribution(tmp_path / "second", "2")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "first"), str(tmp_path / "second"), *sys.path])
    assert environment()["twice"] == "1"


def test_it_is_the_same_each_time_and_small_enough_for_a_hello() -> None:
    assert environment() == environment()
    assert len(dumps(NodeHello("n", "p", environment=environment()))) < MESSAGE / 4


def test_surroundings_are_measured_as_a_job_would_see_them(monkeypatch: pytest.MonkeyPatch) -> None:
    own = [folder for folder in sys.path if "_vendor" not in folder]  # setuptools adds to it when a test imports it
    monkeypatch.setattr(sys, "path", own)
    surroundings = Surroundings()
    assert surroundings.have_changed()
    surroundings.measure()
    assert not surroundings.have_changed()
    assert surroundings.environment == environment()
    assert {"release", "command", "from-scratch"} <= set(surroundings.kinds)


@pytest.mark.parametrize(
    ("script", "said"),
    [(None, "No such file"), ("echo noise", "Expecting value"), ("echo broken >&2; exit 1", "broken")],
)
def test_surroundings_that_can_t_be_measured_are_the_projects_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, said: str
) -> None:
    python = tmp_path / "python"
    if script is not None:
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(AllotmentError, match=f"what is installed here can't be told: .*{said}"):
        Surroundings().measure()


def test_what_is_installed_or_edited_is_noticed(tmp_path: Path) -> None:
    tree, site, tool = tmp_path / "tree", tmp_path / "site", tmp_path / "tool"
    (tree / "src/build").mkdir(parents=True)
    (tree / "src/build/page.html").write_text("one")
    site.mkdir()
    tool.write_text("one")
    watched = Watched((str(site), str(tmp_path / "none")), (str(tree),), (str(tool),))
    looks = [watched.look()]
    (tree / "src/__pycache__").mkdir()
    (tree / "src/__pycache__/page.pyc").write_text("made")
    assert watched.look() == looks[0]
    (tree / "src/build/page.html").write_text("three")
    looks.append(watched.look())
    put_distribution(site, "1")
    looks.append(watched.look())
    tool.write_text("three")
    looks.append(watched.look())
    os.replace(tool, tree / "src/tool")
    looks.append(watched.look())
    assert len(set(looks)) == 5
