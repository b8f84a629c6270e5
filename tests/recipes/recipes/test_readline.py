# SPDX-License-Identifier: Apache-2.0
"""Recipe ``readline``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.errors import AllotmentError
from allotment_recipes.recipes import readline

Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("content", "line"), [(b"one\ntwo\n", "one"), (b"one\r\n", "one"), ("ü".encode(), "ü"), (b"", ""), (b"\nx", "")]
)
def test_the_first_line_is_told(make_recipe: Make, tmp_path: Path, content: bytes, line: str) -> None:
    (tmp_path / "f").write_bytes(content)
    recipe = make_recipe(readline.Recipe, {"storage-path": "f"})
    assert recipe.raw["readline"] == line
    assert recipe.raw["storage-path"] == str(tmp_path / "f")
    assert recipe.install() == []


def test_a_file_that_is_missing_is_an_error_unless_there_is_another_line(make_recipe: Make, tmp_path: Path) -> None:
    with pytest.raises(AllotmentError) as caught:
        make_recipe(readline.Recipe, {"storage-path": "f"})
    assert str(caught.value) == (
        f"[part] storage-path: {tmp_path}/f does not exist. Correct the path, or write 'when-absent = ...'."
    )
    assert make_recipe(readline.Recipe, {"storage-path": "f", "when-absent": ""}).raw["readline"] == ""
    (tmp_path / "f").write_text("there")
    assert make_recipe(readline.Recipe, {"storage-path": "f", "when-absent": "not"}).raw["readline"] == "there"


def test_a_secret_line_is_hidden(partition: Any) -> None:
    (partition.folder / "f").write_text("pl4nted\n")
    profile = """\
        [buildout]
        parts = t
        [r]
        recipe = allotment.recipes:readline
        storage-path = f
        secret = true
        [t]
        recipe = allotment.recipes:template
        inline = ${r:readline}
        output = etc/t
        """
    assert partition.run(profile).error == ""
    assert partition.text("etc/t") == "pl4nted"
    assert "pl4nted" not in partition.text(".installed.cfg")


def test_what_is_no_text_file_is_named(make_recipe: Make, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\n")
    (tmp_path / "link").symlink_to("binary")
    for name, message in (
        ("binary", "is not UTF-8 text. Name a text file"),
        (".", "is not a regular file"),
        ("link", "It must be a regular file"),
    ):
        with pytest.raises(AllotmentError, match=rf"\[part\] storage-path: .*{message}"):
            make_recipe(readline.Recipe, {"storage-path": name})
