# SPDX-License-Identifier: Apache-2.0
"""Recipe ``command``: real shells, in real runs where files and removals matter."""

import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.errors import AllotmentError
from allotment.secret import Secret
from allotment_recipes.recipes import command

Make = Callable[..., Any]


def test_a_command_runs_in_the_folder_and_its_output_is_logged(make_recipe: Make, tmp_path: Path, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    options = {"command": "echo one\npwd; printf 'no end' >&2", "location": "made here"}
    recipe = make_recipe(command.Recipe, options)
    assert recipe.install() == [tmp_path / "made here"]
    assert [record.getMessage() for record in caplog.records] == ["one", str(tmp_path), "no end"]
    assert recipe.raw["location"] == str(tmp_path / "made here")


def test_later_runs_have_a_command_of_their_own(make_recipe: Make, tmp_path: Path) -> None:
    recipe = make_recipe(command.Recipe, {"command": "echo c >> log", "update-command": "echo u >> log"})
    recipe.install()
    recipe.update()
    assert (tmp_path / "log").read_text() == "c\nu\n"
    recipe = make_recipe(command.Recipe, {"command": "echo c >> log"})
    assert recipe.update() == []
    assert (tmp_path / "log").read_text() == "c\nu\n"


def test_the_environment_is_lines_or_a_section(make_recipe: Make, tmp_path: Path) -> None:
    for options in ({"environment": "A=x $HOME"}, {"environment": "v"}):
        make_recipe(command.Recipe, {"command": 'echo "$A" > out', **options}, v={"A": "x $HOME"}).install()
        assert (tmp_path / "out").read_text() == "x $HOME\n"


def test_a_failing_command_ends_the_run_with_its_last_lines(make_recipe: Make, tmp_path: Path) -> None:
    text = "for i in 1 2 3 4 5 6 7 8 9 10 11; do echo line $i; done\nfalse\ntouch never"
    with pytest.raises(AllotmentError) as caught:
        make_recipe(command.Recipe, {"command": text}).install()
    lines = "".join(f"\n  | line {number}" for number in range(2, 12))
    fix = "Correct it, or write 'stop-on-error = false' if that may be."
    assert str(caught.value) == f"[part] command failed with exit code 1{lines}. {fix}"
    assert not (tmp_path / "never").exists()


def test_a_killed_command_is_told_as_such(make_recipe: Make) -> None:
    with pytest.raises(AllotmentError, match=r"\[part\] update-command was killed by signal 9"):
        make_recipe(command.Recipe, {"command": "true", "update-command": "kill -9 $$"}).update()


def test_an_error_may_be_let_pass(make_recipe: Make, tmp_path: Path, caplog: Any) -> None:
    recipe = make_recipe(command.Recipe, {"command": "false\ntouch after\nexit 3", "stop-on-error": "false"})
    recipe.install()
    assert (tmp_path / "after").exists()
    assert [record.getMessage() for record in caplog.records] == ["[part] command failed with exit code 3"]


def test_what_is_left_in_the_background_keeps_nobody(make_recipe: Make, tmp_path: Path) -> None:
    began = time.monotonic()
    make_recipe(command.Recipe, {"command": "sleep 60 & echo $! > pid"}).install()
    assert time.monotonic() - began < 50
    os.kill(int((tmp_path / "pid").read_text()), 9)


def test_output_that_is_no_text_harms_nobody(make_recipe: Make, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    make_recipe(command.Recipe, {"command": r"printf '\377\0%%s\n'"}).install()
    assert caplog.records[0].getMessage() == "\ufffd\0%s"


def test_a_command_sees_the_files_of_the_sections_before(partition: Any) -> None:
    profile = """\
        [buildout]
        parts = t c copy
        [t]
        recipe = allotment.recipes:template
        inline = CONTENT
        output = etc/t
        [c]
        recipe = allotment.recipes:command
        command = cat ${t:output} > made
        update-command = ${:command}
        location = made
        [copy]
        recipe = allotment.recipes:copyfiles
        target-directory = copies
        file-list = ${c:location}
        """
    for content in ("one", "two"):
        assert partition.run(profile.replace("CONTENT", content)).error == ""
        assert partition.text("copies/made") == content


SECTION = "[c]\nrecipe = allotment.recipes:command\ncommand = echo TEXT > file; mkdir -p folder; touch folder/x\n"


def test_what_it_made_is_removed_with_it_and_made_anew(partition: Any) -> None:
    profile = f"[buildout]\nparts = c\n{SECTION}location =\n  file\n  folder\n"
    for text in ("one", "two"):
        assert partition.run(profile.replace("TEXT", text)).error == ""
        assert partition.text("file") == f"{text}\n"
        assert (partition.folder / "folder/x").exists()
    assert partition.run("[buildout]\nparts =\n").error == ""
    assert not (partition.folder / "file").exists()
    assert not (partition.folder / "folder").exists()


def test_files_of_a_run_that_fails_later_are_known_to_the_next(partition: Any) -> None:
    text = "[t]\nrecipe = allotment.recipes:template\ninline = x\noutput = etc/t\n"
    fails = "[c]\nrecipe = allotment.recipes:command\ncommand = test -e ${t:output} && false\n"
    result = partition.run(f"[buildout]\nparts = t c\n{text}{fails}")
    assert result.error.startswith("[c] command failed with exit code 1")
    assert (partition.folder / "etc/t").exists()
    assert partition.run("[buildout]\nparts =\n").error == ""
    assert not (partition.folder / "etc/t").exists()


def test_files_of_a_run_that_was_killed_are_known_to_the_next(partition: Any) -> None:
    text = "[t]\nrecipe = allotment.recipes:template\ninline = x\noutput = etc/t\n"
    kills = "[c]\nrecipe = allotment.recipes:command\ncommand = test -e ${t:output} && kill -9 $PPID\n"
    assert "signal 9" in partition.run(f"[buildout]\nparts = t c\n{text}{kills}").error
    assert (partition.folder / "etc/t").exists()
    assert partition.run("[buildout]\nparts =\n").error == ""
    assert not (partition.folder / "etc/t").exists()


def test_secrets_come_by_the_environment_only(partition: Any) -> None:
    partition.parameters = {"password": Secret("pl4nted")}
    slap = "[slap]\nrecipe = allotment.recipes:slapconfiguration\n"
    section = "[c]\nrecipe = allotment.recipes:command\ncommand = echo it is $PASSWORD; false\n"
    variable = "environment = PASSWORD=${slap:configuration.password}\n"
    result = partition.run(f"[buildout]\nparts = c\n{slap}{section}{variable}")
    assert "\n  | it is <secret>" in result.error
    assert "it is <secret>" in partition.log.read_text()
    assert "pl4nted" not in partition.log.read_text() + result.error
    result = partition.run(
        f"[buildout]\nparts = c\n{slap}{section.replace('$PASSWORD', '${slap:configuration.password}')}"
    )
    assert result.error == "[c] command: holds a secret. Pass it in 'environment' or in a private file."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "[part] command: missing option. Add 'command = ...'."),
        ({"command": " "}, "[part] command: is empty. Write a shell command."),
        ({"command": "a", "environment": "1=2"}, "[part] environment: '1=2' is not NAME=value."),
        ({"command": "a", "stop-on-error": "maybe"}, "[part] stop-on-error: 'maybe' is neither true nor false."),
        ({"command": "a", "update": "b"}, "[part] update: unknown option. Did you mean 'update-command'?"),
    ],
)
def test_what_is_wrong_is_named(make_recipe: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(command.Recipe, options)


def test_a_command_that_is_too_long_is_named(make_recipe: Make) -> None:
    with pytest.raises(AllotmentError, match=r"\[part\] command can't be run: Argument list too long\. Shorten it"):
        make_recipe(command.Recipe, {"command": "true " + "x" * (1 << 18)}).install()


def test_another_value_in_the_named_section_is_another_command(partition: Any) -> None:
    profile = (
        "[buildout]\nparts = c\n[c]\nrecipe = allotment.recipes:command\ncommand = echo $A >> out\nenvironment = v\n"
    )
    for value in ("1", "1", "2"):
        assert partition.run(f"{profile}[v]\nA = {value}\n").error == ""
    assert partition.text("out") == "1\n2\n"


@pytest.mark.parametrize("path", [".", "..", "etc/..", "link", "/"])
def test_what_goes_with_the_part_is_never_the_whole_folder(make_recipe: Make, tmp_path: Path, path: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(AllotmentError, match=r"\[part\] location: /.* holds all that is here.*\. Name what is made\."):
        make_recipe(command.Recipe, {"command": "true", "location": path})
