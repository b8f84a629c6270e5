# SPDX-License-Identifier: Apache-2.0
"""``allot profile annotate``: each value with the lines that made it."""

import json
import textwrap
from pathlib import Path

import pytest
from click.testing import CliRunner

from allotment.errors import AllotmentError
from allotment_recipes.commands.annotate import command
from allotment_recipes.reader.annotate import Step, Value, annotate, chosen

STACK = """\
[versions]
zlib = 1.3
lxml = 5.0

[macro]
recipe = allotment.recipes:cmmi
flags =
  one
  two
url = http://somebody:secret@example.com/${:version}.tar.gz
"""
SOFTWARE = """\
[buildout]
extends = stack.cfg
offline = false

[versions]
zlib = 1.3.1

[zlib]
<= macro
version = ${versions:zlib}
flags +=
  three
"""


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    (tmp_path / "stack.cfg").write_text(STACK)
    path = tmp_path / "software.cfg"
    path.write_text(SOFTWARE)
    return path


def value(profile: Path, name: str) -> Value:
    (found,) = chosen(annotate(profile, profile.parent), [name])
    return found


def test_a_value_has_each_line_that_set_it(profile: Path) -> None:
    stack = str(profile.parent / "stack.cfg")
    steps = (Step("=", "1.3", stack, 2), Step("=", "1.3.1", str(profile), 6))
    assert value(profile, "versions:zlib") == Value("versions", "zlib", "1.3.1", "1.3.1", steps)
    assert value(profile, "zlib:version").resolved == "1.3.1"


def test_what_joins_a_macros_value_is_a_step_of_its_own(profile: Path) -> None:
    found = value(profile, "zlib:flags")
    assert found.written == "one\ntwo\nthree"
    stack = str(profile.parent / "stack.cfg")
    assert found.steps == (Step("=", "one\ntwo", stack, 7, "macro"), Step("+=", "three", str(profile), 11))


def test_what_is_taken_from_a_macros_value_is_gone(profile: Path) -> None:
    profile.write_text(f"{SOFTWARE}flags -=\n  one\n")
    found = value(profile, "zlib:flags")
    assert found.written == found.resolved == "two\nthree"
    assert [(step.operation, step.value) for step in found.steps] == [("=", "one\ntwo"), ("+=", "three"), ("-=", "one")]


def test_what_the_run_sets_and_what_is_a_default_are_named(profile: Path) -> None:
    offline = value(profile, "buildout:offline")
    assert offline.written == "true"
    assert [(step.place, step.line) for step in offline.steps] == [
        ("default", 0),
        (str(profile), 3),
        ("set by the run", 0),
    ]
    assert value(profile, "buildout:bin-directory").steps == (Step("=", "bin", "default"),)


def test_no_password_is_shown(profile: Path) -> None:
    found = value(profile, "zlib:url")
    assert found.resolved == "http://example.com/1.3.1.tar.gz"
    assert "secret" not in repr(annotate(profile, profile.parent))


def test_what_only_a_run_can_tell_is_not_guessed(profile: Path) -> None:
    profile.write_text(
        f"{SOFTWARE}\n[x]\na = ${{zlib:location}}/bin\nb = ${{:c}}\nc = ${{:b}}\nd = $${{a}} ${{zlib:version}}\n"
    )
    assert [value(profile, f"x:{option}").resolved for option in "abcd"] == [None, None, None, "$${a} 1.3.1"]


def test_what_is_not_there_is_named_with_the_nearest(profile: Path) -> None:
    values = annotate(profile, profile.parent)
    with pytest.raises(AllotmentError, match=r"^the profile has no section 'zlb'\. Did you mean 'zlib'"):
        chosen(values, ["zlb"])
    with pytest.raises(AllotmentError, match=r"^\[zlib\] has no option 'flag'\. Did you mean 'flags'"):
        chosen(values, ["zlib:flag"])


def test_the_table_is_one_that_people_read(profile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(profile.parent)
    done = CliRunner().invoke(command, ["software.cfg", "zlib:flags", "versions:zlib", "zlib:version"])
    assert done.exit_code == 0, done.output
    assert done.output == textwrap.dedent(
        """\
        [zlib]
        flags = one
            two
            three
            stack.cfg:7, [macro]  =  one | two
            software.cfg:11       += three

        [versions]
        zlib = 1.3.1
            stack.cfg:2     =  1.3
            software.cfg:6  =  1.3.1

        [zlib]
        version = ${versions:zlib}
          is 1.3.1
            software.cfg:10

        """
    )


def test_defaults_are_shown_when_they_are_asked_for(profile: Path) -> None:
    def shown(*arguments: str) -> list[str]:
        done = CliRunner().invoke(command, [str(profile), *arguments])
        assert done.exit_code == 0, done.output
        return [line.partition(" ")[0] for line in done.output.splitlines() if line and line[0] != " "]

    said, all_of_it = shown(), shown("--defaults")
    assert said[:3] == ["[buildout]", "offline", "[versions]"]
    assert all_of_it[:2] == said[:2], "what the profile says comes first"
    assert "bin-directory" in all_of_it
    assert [name for name in all_of_it if name in said] == said
    assert shown("buildout") == all_of_it[: all_of_it.index("[versions]")]
    assert shown("buildout:bin-directory") == ["[buildout]", "bin-directory"]
    objects = [
        json.loads(CliRunner().invoke(command, [str(profile), "--json", *more]).output) for more in ([], ["--defaults"])
    ]
    names = [[value["option"] for value in found["values"]] for found in objects]
    assert ["bin-directory" in found for found in names] == [False, True]


def test_programs_get_one_object(profile: Path) -> None:
    done = CliRunner().invoke(command, [str(profile.parent), "--json", "versions:lxml"])
    step = {"operation": "=", "value": "5.0", "place": str(profile.parent / "stack.cfg"), "line": 3, "macro": ""}
    value = {"section": "versions", "option": "lxml", "written": "5.0", "resolved": "5.0", "steps": [step]}
    assert json.loads(done.output) == {"profile": str(profile), "values": [value]}


def test_a_profile_commands_no_terminal(profile: Path) -> None:
    profile.write_text("[a]\nb = \x1b]0;owned\x07\n")
    done = CliRunner().invoke(command, [str(profile), "a"])
    assert "b = \\x1b]0;owned\\x07\n" in done.output


def test_a_profile_of_an_instance_can_be_looked_at(profile: Path) -> None:
    path = profile.parent / "instance.cfg"
    path.write_text("[buildout]\nparts = one\n[one]\nport = ${parameters:port}\nhost = ${:_buildout_section_name_}\n")
    assert (value(path, "one:port").resolved, value(path, "one:host").resolved) == (None, "one")
