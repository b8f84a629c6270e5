# SPDX-License-Identifier: Apache-2.0
"""Recipe ``mkdirectory``."""

import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from allotment.errors import AllotmentError
from allotment_recipes.recipes import mkdirectory

Make = Callable[..., Any]


@pytest.fixture
def narrow_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_folders_are_made_with_their_mode(make_recipe: Make, tmp_path: Path, narrow_umask: None) -> None:
    recipe = make_recipe(mkdirectory.Recipe, {"etc": "a/etc/", "data": f"{tmp_path}/my data", "mode": "0751"})
    assert recipe.raw["etc"] == str(tmp_path / "a/etc")
    assert recipe.install() == []
    for name in ("a/etc", "my data"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o751


def test_a_folder_that_is_there_stays_as_it_is(make_recipe: Make, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data/kept").write_text("")
    (tmp_path / "link").symlink_to("data")
    recipe = make_recipe(mkdirectory.Recipe, {"data": "data", "other": "link"})
    assert recipe.install() == recipe.update() == []
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert (tmp_path / "link").is_symlink()


def test_folders_outlive_their_section(partition: Any) -> None:
    assert partition.run("[buildout]\nparts = d\n[d]\nrecipe = allotment.recipes:mkdirectory\nx = var/x\n").error == ""
    assert partition.run("[buildout]\nparts =\n").error == ""
    assert (partition.folder / "var/x").is_dir()


def test_what_is_in_the_way_is_named(make_recipe: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AllotmentError, match=r"\[part\] etc: .*/file/etc can't be made: Not a directory"):
        make_recipe(mkdirectory.Recipe, {"etc": "file/etc"}).install()
    with pytest.raises(AllotmentError, match=r"\[part\] etc: .*/file can't be made: File exists"):
        make_recipe(mkdirectory.Recipe, {"etc": "file"}).install()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"etc": ""}, "[part] etc: is empty. Write a path."),
        ({"etc": "x", "mode": "rwx"}, "[part] mode: 'rwx' is not an octal number. Write it like 0644."),
    ],
)
def test_what_is_wrong_is_named(make_recipe: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(mkdirectory.Recipe, options)


def test_a_path_that_can_be_none_is_named(make_recipe: Any) -> None:
    with pytest.raises(AllotmentError, match=r"\[part\] a: holds a NUL character\. Write a path\."):
        make_recipe(mkdirectory.Recipe, {"a": "x\0y"})
