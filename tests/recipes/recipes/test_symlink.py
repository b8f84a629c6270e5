# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""Recipe ``symlink``, and the lists of files that it shares with ``copyfiles``."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment.errors import AllotmentError
from allotment.options import OptionProblem
from allotment_recipes.file_lists import read_file_list
from allotment_recipes.recipes import symlink

Make = Callable[..., Any]


def test_links_are_made_by_name(make_recipe: Make, tmp_path: Path) -> None:
    lines = "/bin/sh\nshell = /bin/sh\nsub/sh=/bin/sh\nmy file = data/a = b\n"
    recipe = make_recipe(symlink.Recipe, {"target-directory": "bin", "link-binary": lines})
    links = {name: tmp_path / "bin" / name for name in ("sh", "shell", "sub/sh", "my file")}
    assert recipe.raw["target-directory"] == str(tmp_path / "bin")
    assert recipe.install() == list(links.values())
    assert links["sh"].readlink() == links["sub/sh"].readlink() == Path("/bin/sh")
    assert links["my file"].readlink() == tmp_path / "data/a = b"


def test_a_second_run_changes_nothing_and_another_target_does(make_recipe: Make, tmp_path: Path) -> None:
    def run(target: str) -> int:
        make_recipe(symlink.Recipe, {"target-directory": "bin", "link-binary": f"x = {target}"}).install()
        return (tmp_path / "bin/x").lstat().st_ino

    assert run("/bin/sh") == run("/bin/sh")
    run("/bin/true")
    assert (tmp_path / "bin/x").readlink() == Path("/bin/true")


def test_links_that_are_listed_no_longer_go(partition: Any) -> None:
    section = "[l]\nrecipe = allotment.recipes:symlink\ntarget-directory = bin\nlink-binary =\n  /bin/sh\n"
    assert partition.run(f"[buildout]\nparts = l\n{section}  t = /bin/true\n").error == ""
    assert {path.name for path in (partition.folder / "bin").iterdir()} == {"sh", "t"}
    assert partition.run(f"[buildout]\nparts = l\n{section}").error == ""
    assert {path.name for path in (partition.folder / "bin").iterdir()} == {"sh"}
    assert partition.run("[buildout]\nparts =\n").error == ""
    assert not (partition.folder / "bin/sh").is_symlink()
    assert Path("/bin/sh").exists()


def test_what_is_missing_yet_is_told(make_recipe: Make, tmp_path: Path, caplog: Any) -> None:
    (tmp_path / "here").write_text("")
    make_recipe(symlink.Recipe, {"target-directory": "bin", "link-binary": "here\nthere"}).install()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        f"{tmp_path}/bin/there leads to {tmp_path}/there, which does not exist yet"
    ]
    assert (tmp_path / "bin/there").is_symlink()


def test_what_the_run_writes_is_not_missing(partition: Any) -> None:
    profile = """\
        [buildout]
        parts = t l
        [t]
        recipe = allotment.recipes:template
        inline = x
        output = etc/conf/t
        [l]
        recipe = allotment.recipes:symlink
        target-directory = links
        link-binary =
          ${t:output}
          conf = ${t:location}
        """
    assert partition.run(profile).error == ""
    assert "does not exist yet" not in partition.log.read_text()
    assert partition.text("links/t") == partition.text("links/conf/t") == "x"


def test_a_folder_in_the_way_is_named(make_recipe: Make, tmp_path: Path) -> None:
    (tmp_path / "bin/sh").mkdir(parents=True)
    with pytest.raises(AllotmentError, match=r"\[part\] link-binary: .*/bin/sh is there already and no link"):
        make_recipe(symlink.Recipe, {"target-directory": "bin", "link-binary": "/bin/sh"}).install()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"link-binary": "/bin/sh"}, "[part] target-directory: missing option. Add 'target-directory = ...'."),
        ({"target-directory": "b"}, "[part] link-binary: missing option."),
        ({"target-directory": "b", "link-binary": "/bin/sh\n/sbin/sh"}, "[part] link-binary: /bin/sh and /sbin/sh are both called 'sh'. Give one another name: other = /sbin/sh."),
        ({"target-directory": "b", "link-binary": "../x = /bin/sh"}, "[part] link-binary: '../x = /bin/sh' is not a path, nor 'name = path'. Write it like: psql = /bin/psql."),
        ({"target-directory": "b", "link-binary": "/x = /bin/sh"}, "[part] link-binary: '/x = /bin/sh' is not a path"),
        ({"target-directory": "b", "link-binary": "x = "}, "[part] link-binary: 'x =' is not a path"),
        ({"target-directory": "b", "link-binary": "/"}, "[part] link-binary: '/' is not a path"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(make_recipe: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(symlink.Recipe, options)


WORD = st.text("aé0_ .'\"-", min_size=1, max_size=5).map(lambda text: f"w{text}w")
PATHS = st.lists(WORD, min_size=1, max_size=3).map(lambda words: "/" + "/".join(words))


@given(st.dictionaries(WORD, PATHS))
def test_named_files_are_read_again(files: dict[str, str]) -> None:
    assert read_file_list([f"{name} = {path}" for name, path in files.items()], "o") == files


@given(st.lists(st.text(min_size=1)))
def test_no_name_leads_out_of_the_folder(lines: list[str]) -> None:
    try:
        found = read_file_list(lines, "o")
    except OptionProblem:
        return
    for name in found:
        assert not name.startswith("/")
        assert ".." not in name.split("/")


def test_a_link_takes_the_place_of_no_file_that_it_does_not_own(make_recipe: Make, tmp_path: Path) -> None:
    for name in ("bin/tool", "real/data"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("precious")
    (tmp_path / "also").symlink_to("bin")
    for path in ("bin/tool", "also/tool", "bin/../bin/tool"):
        with pytest.raises(AllotmentError, match=r"\[part\] link-binary: .*/tool is in target-directory itself\. Give"):
            make_recipe(symlink.Recipe, {"target-directory": "bin", "link-binary": path})
    recipe = make_recipe(symlink.Recipe, {"target-directory": "bin", "link-binary": "tool = /bin/sh"})
    with pytest.raises(AllotmentError, match=r"\[part\] link-binary: .*/bin/tool is there already and no link\. Move"):
        recipe.install()
    assert (tmp_path / "bin/tool").read_text() == "precious"


def test_a_link_follows_a_file_of_the_section_before(partition: Any) -> None:
    for section in ("template\ninline = x\noutput = o", "symlink\nlink-binary = o = /bin/sh\ntarget-directory = ."):
        assert partition.run(f"[buildout]\nparts = t\n[t]\nrecipe = allotment.recipes:{section}\n").error == ""
    assert (partition.folder / "o").readlink() == Path("/bin/sh")


def test_a_path_that_is_too_long_is_named(make_recipe: Make) -> None:
    with pytest.raises(AllotmentError, match=r"\[part\] can't write .*: File name too long"):
        make_recipe(symlink.Recipe, {"target-directory": "bin", "link-binary": "x = /" + "y/" * 3000}).install()
