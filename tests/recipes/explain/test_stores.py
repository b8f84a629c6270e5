# SPDX-License-Identifier: Apache-2.0
"""``allot why`` and ``allot build`` with other stores and binary caches, and what is asked of them in a wrong way."""

import json
from pathlib import Path
from typing import Any

import pytest

from allotment.cli import main

PROFILE = """\
[buildout]
parts = lib profile
[lib]
recipe = allotment.recipes:cmmi
url = {archive.url}
sha256sum = {archive.sha256}
configure-command = true
make-binary = true
post-install = mkdir @@LOCATION@@/share
[profile]
recipe = allotment.recipes:template.jinja2
inline = [buildout]
output = ${{buildout:directory}}/instance.cfg
"""
TYPE = {"title": "Small", "description": "Small", "profile": "instance.cfg", "parameters": "any.json"}
DESCRIPTION = {"format": 1, "name": "small", "licences": [], "types": {"default": {**TYPE, "published": "any.json"}}}
NOW = ["software/small", "--store", "var/other", "--folder", "var/b"]


@pytest.fixture
def small(tmp_path: Path, sources: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A release that is built into ``var/store``; returns its folder."""
    from allotment_recipes.testing.fake_sources import archive

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    (tmp_path / "var").mkdir()
    (tmp_path / "var/sources").symlink_to(sources.folder)
    place = tmp_path / "software/small"
    place.mkdir(parents=True)
    tarball = sources.add(archive({"README": "data\n"}, "data-1"), "data-1.tar.gz")
    (place / "software.cfg").write_text(PROFILE.format(archive=tarball))
    (place / "software.cfg.json").write_text(json.dumps(DESCRIPTION))
    (place / "any.json").write_text("{}")
    assert main(["build", "software/small"]) == 0
    assert main(["cache", "key"]) == 0
    assert main(["cache", "push", "var/build/small", "--cache", "parts"]) == 0
    return place


@pytest.mark.parametrize(
    ("words", "action"),
    [([], "built"), (["--system-store", "var/store"], "reused"), (["--cache", "parts"], "fetched")],
)
def test_why_answers_as_the_plan_with_the_same_stores_and_caches(
    small: Path, capsys: pytest.CaptureFixture[str], words: list[str], action: str
) -> None:
    capsys.readouterr()
    assert main(["why", "lib", *NOW, *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["now"]["action"] == action
    assert main(["build", *NOW, *words, "--plan", "--json"]) == 0
    parts = {part["part"]: part["action"] for part in json.loads(capsys.readouterr().out)["parts"]}
    assert parts["lib"] == action


@pytest.mark.parametrize("command", [["build", "--plan"], ["why", "lib"]])
def test_a_cache_that_does_not_answer_is_told_of(
    small: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    capsys.readouterr()
    assert main([*command, *NOW, "--cache", "http://127.0.0.1:1"]) == 0
    told = capsys.readouterr()
    assert "the binary cache http://127.0.0.1:1 is left alone for this build: it can't be reached" in told.err
    assert "built" in told.out


def test_a_part_that_was_never_whole_is_told_once(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = small / "software.cfg"
    path.write_text(path.read_text().replace("mkdir @@", "false @@"))
    assert main(["build", *NOW]) == 1
    capsys.readouterr()
    assert main(["build", *NOW, "--plan"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "lib" in line]
    assert len(lines) == 1 and lines[0].endswith("the last build did not come to its end")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["why", "lib", "--folder", "var/build/small", "--cache", "parts"], "next build does: give PATH too"),
        (["build", "software/small", "--plan", "--check"], "--check, --plan and --shell are three things"),
        (["build", "software/small", "--plan", "--shell", "lib"], "--check, --plan and --shell are three things"),
        (["build", "--shell", "lib"], "give a software.cfg or its folder, or --folder of the release that failed"),
    ],
)
def test_what_does_not_go_together_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(words) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_release_whose_log_cannot_be_read_is_an_error_with_a_fix(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("taken").write_text("a file\n")
    capsys.readouterr()
    assert main(["build", "software/small", "--folder", "taken"]) == 1
    message = "taken/build.log can't be read: Not a directory. Build as the user who owns the release's folder, or "
    assert message in capsys.readouterr().err
