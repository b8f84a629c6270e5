# SPDX-License-Identifier: Apache-2.0
"""The recipes ``editable`` and ``editable.read``."""

import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment.errors import AllotmentError
from allotment.options import OptionProblem
from allotment_recipes.editable_values import parse, with_defaults
from allotment_recipes.recipes import editable, editable_read

Make = Callable[..., Any]
PROFILE = """\
    [buildout]
    parts = settings told
    [settings]
    recipe = allotment.recipes:editable
    file-path = etc/shop.cfg
    greeting = Welcome
    colour = green
    [known]
    recipe = allotment.recipes:editable.read
    file-path = etc/shop.cfg
    greeting = nobody knows
    colour = none
    [told]
    recipe = allotment.recipes:template
    inline = ${settings:greeting} ${settings:colour}, ${known:greeting} ${known:colour}
    output = told
    """


def test_what_people_write_stays(partition: Any) -> None:
    assert partition.run(PROFILE).error == ""
    file = partition.folder / "etc/shop.cfg"
    assert file.read_text() == "[settings]\ngreeting = Welcome\ncolour = green\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert partition.text("told") == "Welcome green, nobody knows none", "it was read before it was written"
    mine = "# mine\n[settings]\ncolour=red ${settings:greeting}\n  and = blue\n[other]\ngreeting = Hi\n"
    file.write_text(mine)
    partition.run_twice(PROFILE.replace("Welcome", "Hello"))
    assert file.read_text() == mine.replace("[settings]\n", "[settings]\ngreeting = Hello\n")
    partition.run_twice(PROFILE)
    colours = "red ${settings:greeting}\nand = blue"
    assert partition.text("told") == f"Hello {colours}, Hi {colours}"
    assert partition.remove("settings", "told") == ["told"]
    assert file.exists()


def test_values_of_buildout_itself_are_not_taken_from_the_file(make_recipe: Make, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("[a]\nrecipe = evil\n_x = evil\nfile-path = evil\nfilename = evil\nother = fine\n")
    raw = make_recipe(editable_read.Recipe, {"filename": "f"}).raw
    assert raw == {"filename": str(tmp_path / "f"), "other": "fine"}
    (tmp_path / "g").write_text("[part]\nrecipe = evil\nother = fine\nmine = 2\n")
    raw = make_recipe(editable.Recipe, {"filename": "g", "mine": "1"}).raw
    assert raw == {"filename": str(tmp_path / "g"), "mine": "2"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"greeting = 1\n", "file-path: {}/f can't be read: File contains no section headers."),
        (b"[a]\nwhat is this\n", "file-path: {}/f can't be read: Source contains parsing errors"),
        (b"\xff", "file-path: {}/f is not UTF-8 text. Correct the file."),
    ],
)
def test_a_file_that_can_not_be_read_is_an_error_and_stays(
    make_recipe: Make, tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "f").write_bytes(content)
    for recipe in (editable.Recipe, editable_read.Recipe):
        with pytest.raises(AllotmentError, match=re.escape(f"[part] {message.format(tmp_path)}")):
            make_recipe(recipe, {"file-path": "f", "x": "y"})
    assert (tmp_path / "f").read_bytes() == content


def test_a_file_that_is_a_folder_or_a_link_is_an_error(make_recipe: Make, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    for name, message in ((".", "is not a regular file"), ("link", "It must be a regular file")):
        with pytest.raises(AllotmentError, match=rf"\[part\] file-path: .*{message}"):
            make_recipe(editable_read.Recipe, {"file-path": name})


def test_one_name_of_the_file_is_needed(make_recipe: Make) -> None:
    with pytest.raises(AllotmentError, match=r"\[part\] file-path, filename: none of them is given"):
        make_recipe(editable.Recipe, {"x": "y"})


def test_a_default_that_would_become_a_comment_is_an_error(make_recipe: Make) -> None:
    with pytest.raises(AllotmentError, match=r"\[part\] words: a line of it begins with '#'"):
        make_recipe(editable.Recipe, {"file-path": "f", "words": "one\n#two"})


NAMES = st.from_regex(r"\A[A-Za-z][-A-Za-z0-9_]{0,8}\Z")
VALUES = st.lists(st.from_regex(r"\A[^\s#=\[;][ -~]{0,8}[^\s]\Z"), max_size=3).map("\n".join)


@given(st.dictionaries(NAMES, VALUES), st.dictionaries(NAMES, VALUES), NAMES, st.booleans())
def test_what_is_added_is_read_and_what_was_there_stays(
    before: dict[str, str], added: dict[str, str], section: str, is_other: bool
) -> None:
    first = "other-one" if is_other else section
    text = with_defaults("# mine\n", first, before)
    missing = {name: value for name, value in added.items() if is_other or name not in before}
    found = parse(with_defaults(text, section, missing), Path("f"), "x")
    stripped = {name: value.strip() for name, value in before.items()}
    assert found.get(first, {}) == (stripped if is_other else {**stripped, **missing})
    assert found.get(section, {}) == (missing if is_other else {**stripped, **missing})


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text, Path("f"), "file-path")
    except OptionProblem as problem:
        assert "f can't be read" in str(problem)
