# SPDX-License-Identifier: Apache-2.0
"""``[buildout] extensions = allotment.recipes``: what an extension can't give, and how it is called."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.recipes.variant import test_extension
from tests.recipes.variant.conftest import SAID, SHOW, TOOL, Yard

from allotment_recipes.testing import FakeSources, Partition, Release

PAGE = Path(__file__).parents[3] / "docs/explanation/buildout-variant.md"


@pytest.mark.parametrize("extended", [False, True])
def test_one_part_after_the_other(yard: Yard, extended: bool) -> None:
    archive = yard.archive("tool", TOOL)
    yard.profile(
        "".join(f"[{name}]\nrecipe = allotment.recipes:cmmi\n{archive}" for name in ("one", "two")), extended=extended
    )
    said = yard.works()
    steps = re.findall(r"^(Installing \w+\.|\w+: building)", said, re.MULTILINE)
    assert steps == ["Installing one.", "one: building", "Installing two.", "two: building"]


@pytest.mark.parametrize(("extended", "folder"), [(False, "parts"), (True, "store")])
def test_no_shared_store(yard: Yard, tmp_path: Path, extended: bool, folder: str) -> None:
    text = f"[tool]\nrecipe = allotment.recipes:cmmi\nshared = true\n{yard.archive('tool', TOOL)}"
    shared = tmp_path / "shared"
    yard.profile(text, buildout=f"shared-part-list = {shared}", extended=extended)
    yard.works()
    assert not shared.exists()
    assert len(list((yard.folder / folder).glob("tool*/out"))) == 1


def test_what_upstream_reads_before(yard: Yard) -> None:
    yard.write("base.cfg", "[a]\nb = 1\n")
    digest = hashlib.sha256(b"[a]\nb = 1\n").hexdigest()
    for extends in (f"base.cfg#sha256={digest}", "${:_profile_base_location_}/base.cfg"):
        yard.profile("", extends=extends)
        code, said = yard.run("-o")
        assert code == 1
        assert SAID not in said


def test_what_buildout_s_own_section_refers_to(yard: Yard) -> None:
    yard.profile("", buildout="place = ${:_profile_base_location_}")
    assert "Referenced option does not exist" in yard.fails()
    tool = "[tool]\nrecipe = slapos.recipe.template:jinja2\ninline = x\nrendered = x\n"
    yard.profile(tool, buildout="place = ${tool:rendered}")
    assert "slapos.recipe.template" in yard.fails()


def test_conditions_run_before(yard: Yard, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    yard.profile(f"[b:open({str(mark)!r}, 'w')]\nx = 2\n")
    assert "calls open, which conditions can't" in yard.fails()
    assert mark.exists(), "upstream has evaluated it"


def test_extensions_of_slapos(yard: Yard) -> None:
    """Upstream looks for all of them before it calls one; ``allot build`` leaves SlapOS's out."""
    yard.profile(
        "", buildout="index = http://127.0.0.1:1/\nextensions = slapos.rebootstrap allotment.recipes", extended=False
    )
    assert "We don't have a distribution for slapos.rebootstrap" in yard.fails()


def test_offline_is_of_eggs_only(yard: Yard, sources: FakeSources) -> None:
    served = sources.serve("page.html", b"hello")
    yard.profile(f"[page]\nrecipe = allotment.recipes:download\nurl = {served.url}\nsha256sum = {served.sha256}\n")
    yard.works()
    assert sources.asked == ["page.html"]


def test_annotate_shows_what_upstream_reads(yard: Yard) -> None:
    yard.profile("[a]\nb = 1\n")
    said = yard.works("annotate", "a")
    assert SAID not in said
    assert "_profile_base_location_" not in said


def test_no_instance_waits(yard: Yard) -> None:
    yard.profile("[one]\nrecipe = slapos.cookbook:slapconfiguration\n")
    assert "Use this recipe in an instance profile only" in yard.fails()


# How it is called.


def test_the_command_s_options_are_kept(yard: Yard, tmp_path: Path) -> None:
    yard.write(".buildout/default.cfg", "[defaults]\nuser = yes\n")
    yard.profile(f"{SHOW}inline = ${{a:b}} ${{defaults:user}}\n[a]\nb = 1\n[defaults]\nuser = no\nother = 1\n")
    yard.works("a:b=2")
    assert yard.text("shown") == "2 no"
    yard.profile(f"{SHOW}inline = ${{defaults:user}}\n")
    yard.works()
    assert yard.text("shown") == "yes"
    assert "defaults" in yard.fails("-U")
    (tmp_path / "other").mkdir()
    code, said = yard.run("-o", "-c", "yard/buildout.cfg", f"buildout:directory={tmp_path}/other", cwd="..")
    assert code == 0, said
    assert (tmp_path / "other/shown").read_text() == "yes"


def test_parts_may_be_named(yard: Yard) -> None:
    more = SHOW.replace("show", "more")
    yard.profile(f"{SHOW}inline = 1\n{more}inline = 2\n")
    yard.works("install", "more")
    assert (yard.folder / "moren").exists()
    assert not (yard.folder / "shown").exists()
    yard.works("install", "show")
    assert (yard.folder / "moren").exists(), "what is not named stays"


def test_a_profile_may_get_it_and_lose_it(yard: Yard) -> None:
    sections = f"{SHOW}inline = 1\n[tool]\nrecipe = allotment.recipes:cmmi\n{yard.archive('tool', TOOL)}"
    for extended in (False, True, False):
        yard.profile(sections, extended=extended)
        said = yard.works()
        assert "Uninstalling" in said or not (yard.folder / "had").exists()
        (yard.folder / "had").touch()
        assert yard.text("shown") == "1"
        assert (yard.folder / "parts/tool").exists() == (not extended)
        assert bool(list(yard.folder.glob("store/tool-*"))) == extended
    yard.profile("", extended=False)
    yard.works()
    assert not (yard.folder / "parts/tool").exists()


def test_it_is_for_those_who_name_it(yard: Yard) -> None:
    """Upstream calls every extension that is installed as soon as a profile names one."""
    yard.write("develop-eggs/other-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    yard.write("develop-eggs/other-1.0.dist-info/entry_points.txt", "[zc.buildout.extension]\ndefault = other:load\n")
    yard.write("develop-eggs/other.py", "def load(buildout):\n    print('the other is there')\n")
    for names, is_ours in (("other", False), ("other allotment.recipes>=0.1", True)):
        yard.profile(f"{SHOW}inline = 1\n", buildout=f"extensions = {names}", extended=False)
        said = yard.works()
        assert "the other is there" in said
        assert (SAID in said) == is_ours


def test_without_the_command_it_says_what_to_do(yard: Yard) -> None:
    yard.profile("")
    code = "import zc.buildout.buildout as b; b.Buildout('buildout.cfg', [('buildout', 'offline', 'true')]).install([])"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=yard.folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "works in a run of the command 'buildout', and this is none. Run that, or 'allot build'." in done.stderr


def test_errors_are_those_of_upstream(yard: Yard) -> None:
    yard.profile(f"{SHOW}inlin = 1\n")
    assert "[show] inlin: unknown option" in yard.fails()
    yard.profile(f"{SHOW}inline = ${{a:c}}\n[a]\nb = 1\n")
    assert "[show] refers to ${a:c}, but [a] has no such option" in yard.fails()
    yard.profile(f"{SHOW}inline = ${{aa:b}}\n[a]\nb = 1\n")
    assert "[show] refers to the section 'aa', which does not exist" in yard.fails()
    yard.write(".installed.cfg", "damaged\n")
    yard.profile(f"{SHOW}inline = 1\n")
    assert "is damaged" in yard.works()
    (yard.folder / ".installed.cfg").unlink()
    (yard.folder / ".installed.cfg").mkdir()
    assert f"{yard.folder}/.installed.cfg can't be written: Is a directory. Mend that, or remove it." in yard.fails()
    assert "Updating" not in yard.works("buildout:installed="), "then there is no record"


def test_what_was_made_before_an_error_is_kept(yard: Yard) -> None:
    text = f"{SHOW}inline = 1\n[bad]\nrecipe = allotment.recipes:command\nstop-on-error = true\ncommand = "
    yard.profile(f"{text}exit 3\n")
    assert "[bad] command" in yard.fails()
    yard.profile(f"{text}true\n")
    said = yard.works()
    assert "Updating show." in said
    assert "Installing bad." in said


# The other way round.


def test_a_build_takes_no_notice_of_it(release: Release, partition: Partition) -> None:
    profile = "[buildout]\nextensions = allotment.recipes\nparts = one\n[one]\nrecipe = allotment.recipes:mkdirectory\n"
    assert release.build(f"{profile}etc = ${{buildout:directory}}/etc\n").error == ""
    assert SAID not in release.log.read_text()
    partition.run_twice(f"{profile}etc = ${{buildout:directory}}/etc\n")
    assert (partition.folder / "etc").is_dir()


def test_each_line_of_the_page_names_a_test_that_is_here() -> None:
    (table,) = re.findall(r"^\| .* \| tested by \|\n((?:\|.*\n)+)", PAGE.read_text(), re.MULTILINE)
    named = [row.rsplit("|", 2)[1].strip().strip("`") for row in table.splitlines()[1:]]
    assert len(named) > 15
    assert [
        name
        for name in named
        if not callable({**vars(test_extension), **globals()}.get(name)) or not name.startswith("test_")
    ] == []
    assert len(set(named)) == len(named)
