# SPDX-License-Identifier: Apache-2.0
"""``buildout -c buildout.cfg`` of zc.buildout with our recipes: what works, and what to do where something doesn't."""

import os
import re
import sys
from pathlib import Path

import pytest
import zc.buildout.buildout as upstream

from allotment_recipes.plugin import RECIPES
from allotment_recipes.testing import FakeSources

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "docs/reference/examples"
PAGE = ROOT / "docs/explanation/buildout-variant.md"
KINDS = {"works", "needs an instance", "fetches"}


def listed() -> dict[str, str]:
    """Return recipe -> kind, as the page says."""
    rows = re.findall(r"^\| (works|needs an instance|fetches) \| (.*?) \|", PAGE.read_text(), re.MULTILINE)
    return {name: kind for kind, names in rows for name in re.findall(r"`([^`]+)`", names)}


def buildout(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run zc.buildout's command in a process of its own; return its exit code and what it said."""
    log = folder / "said"
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            with log.open("w") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
                sys.stdout = sys.stderr = file
                os.chdir(folder)
                try:
                    upstream.main(["-N", "-o", "-U", "-c", "buildout.cfg", *arguments])
                    code = 0
                except SystemExit as error:
                    code = error.code if isinstance(error.code, int) else 1
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status, log.read_text()


@pytest.fixture(scope="module", autouse=True)
def hashed() -> None:
    """Let zc.buildout hash what is installed once: it does so for each run, and the runs are forks of this process."""
    for location in {distribution.location for distribution in upstream.pkg_resources.working_set}:
        if os.path.isdir(location):  # noqa: PTH112 (text in, text out)
            upstream._dir_hash(location)


def test_each_recipe_is_of_a_kind() -> None:
    assert listed().keys() == set(RECIPES)
    assert set(listed().values()) == KINDS


@pytest.mark.parametrize("name", [name for name, kind in listed().items() if kind == "works"])
def test_what_works_runs_twice(name: str, short_path: Path) -> None:
    (short_path / "buildout.cfg").write_text((EXAMPLES / f"{name}.cfg").read_text())
    for _ in range(2):
        code, said = buildout(short_path)
        assert code == 0, said


@pytest.mark.parametrize("name", [name for name, kind in listed().items() if kind == "needs an instance"])
def test_what_needs_an_instance_says_so(name: str, tmp_path: Path) -> None:
    (tmp_path / "buildout.cfg").write_text((EXAMPLES / f"{name}.cfg").read_text())
    code, said = buildout(tmp_path)
    assert code == 1
    assert "Use this recipe in an instance profile only" in said or "which only an instance's run can" in said
    assert "Traceback" not in said


def test_what_only_our_reader_knows_is_an_error_of_theirs(tmp_path: Path) -> None:
    (tmp_path / "buildout.cfg").write_text(
        "[buildout]\nparts = one\n"
        "[one]\nrecipe = allotment.recipes:mkdirectory\netc = ${:_profile_base_location_}/etc\n"
    )
    code, said = buildout(tmp_path)
    assert code == 1
    assert "Referenced option does not exist" in said
    assert not (tmp_path / "etc").exists()


def test_errors_name_the_section(tmp_path: Path) -> None:
    (tmp_path / "buildout.cfg").write_text(
        "[buildout]\nparts = page\n[page]\nrecipe = allotment.recipes:download\nurl = http://localhost:1/page\n"
    )
    code, said = buildout(tmp_path)
    assert code == 1
    assert said.endswith("Error: [page] sha256sum: missing option. Add 'sha256sum = ...'.\n")


def test_what_fetches_fetches(tmp_path: Path, sources: FakeSources) -> None:
    served = sources.serve("page.html", b"hello")
    (tmp_path / "buildout.cfg").write_text(
        f"[buildout]\nparts = page\n[page]\nrecipe = allotment.recipes:download\n"
        f"url = {served.url}\nsha256sum = {served.sha256}\ndestination = ${{buildout:directory}}/page.html\n"
    )
    code, said = buildout(tmp_path)
    assert code == 0, said
    assert (tmp_path / "page.html").read_bytes() == b"hello"


def test_what_can_t_be_fetched_is_told_without_our_code(tmp_path: Path) -> None:
    (tmp_path / "buildout.cfg").write_text(
        "[buildout]\nparts = tool\n[tool]\nrecipe = allotment.recipes:gitclone\n"
        f"repository = {tmp_path}/none\nrevision = {'0' * 40}\n"
    )
    code, said = buildout(tmp_path)
    assert code == 1
    assert "[tool]" in said
    assert "Traceback" not in said
