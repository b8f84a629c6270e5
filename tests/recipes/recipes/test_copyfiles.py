# SPDX-License-Identifier: Apache-2.0
"""Recipe ``copyfiles``."""

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.errors import AllotmentError
from allotment.secret import Secret
from allotment_recipes.recipes import copyfiles

Make = Callable[..., Any]


def test_files_are_copied_with_their_permissions(make_recipe: Make, tmp_path: Path) -> None:
    (tmp_path / "a b").write_bytes(b"\x00\xff")
    (tmp_path / "run").write_text("#!/bin/sh\n")
    (tmp_path / "run").chmod(0o750)
    recipe = make_recipe(copyfiles.Recipe, {"target-directory": "to", "file-list": "a b\nsub/start = run"})
    assert recipe.install() == [tmp_path / "to/a b", tmp_path / "to/sub/start"]
    assert (tmp_path / "to/a b").read_bytes() == b"\x00\xff"
    assert stat.S_IMODE((tmp_path / "to/sub/start").stat().st_mode) == 0o750
    assert recipe.raw["target-directory"] == str(tmp_path / "to")


def test_a_copy_follows_its_file(make_recipe: Make, tmp_path: Path) -> None:
    recipe = make_recipe(copyfiles.Recipe, {"target-directory": "to", "file-list": "x"})
    for text in ("one", "two"):
        (tmp_path / "x").write_text(text)
        recipe.update()
        assert (tmp_path / "to/x").read_text() == text
    before = (tmp_path / "to/x").stat().st_ino
    recipe.update()
    assert (tmp_path / "to/x").stat().st_ino == before


def test_a_private_file_of_the_same_run_stays_private(partition: Any) -> None:
    partition.parameters = {"password": Secret("pl4nted")}
    profile = """\
        [buildout]
        parts = c
        [slap]
        recipe = allotment.recipes:slapconfiguration
        [t]
        recipe = allotment.recipes:template
        inline = ${slap:configuration.password}
        output = etc/t
        [l]
        recipe = allotment.recipes:symlink
        target-directory = links
        link-binary = t = ${t:output}
        [c]
        recipe = allotment.recipes:copyfiles
        target-directory = to
        file-list =
          ${t:output}
          second = ${l:target-directory}/t
        """
    assert partition.run(profile).error == ""
    for name in ("to/t", "to/second"):
        assert partition.text(name) == "pl4nted"
        assert stat.S_IMODE((partition.folder / name).stat().st_mode) == 0o600
    assert partition.run("[buildout]\nparts =\n").error == ""
    assert not (partition.folder / "to/t").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"file-list": "a"}, "[part] target-directory: missing option."),
        ({"target-directory": "b"}, "[part] file-list: missing option."),
        ({"target-directory": "b", "file-list": "x/a\ny/a"}, "[part] file-list: x/a and y/a are both called 'a'."),
    ],
)
def test_what_is_wrong_is_named(make_recipe: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(copyfiles.Recipe, options)


@pytest.mark.parametrize(("name", "reason"), [("none", "No such file or directory"), (".", "Is a directory")])
def test_a_file_that_can_not_be_read_is_named(make_recipe: Make, name: str, reason: str) -> None:
    recipe = make_recipe(copyfiles.Recipe, {"target-directory": "to", "file-list": f"x = {name}"})
    with pytest.raises(AllotmentError, match=rf"\[part\] file-list: .* can't be read: {reason}\. Correct the path, or"):
        recipe.install()


def test_what_is_no_file_is_not_read(make_recipe: Make, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "/dev/zero"):
        recipe = make_recipe(copyfiles.Recipe, {"target-directory": "to", "file-list": f"x = {name}"})
        with pytest.raises(AllotmentError, match=rf"\[part\] file-list: .*{name} is neither a file nor a link to one"):
            recipe.install()


def test_a_copy_takes_the_place_of_its_file_never(make_recipe: Make, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("precious")
    (tmp_path / "link").symlink_to("data")
    for line in ("data", "data = link"):
        with pytest.raises(AllotmentError, match=r"\[part\] file-list: .* is in target-directory itself\. Give it"):
            make_recipe(copyfiles.Recipe, {"target-directory": ".", "file-list": line})
    make_recipe(copyfiles.Recipe, {"target-directory": ".", "file-list": "link = data"}).install()
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "link").read_text() == "precious"
