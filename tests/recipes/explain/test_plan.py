# SPDX-License-Identifier: Apache-2.0
"""``allot build --plan`` and ``allot why``: what changed is told down to the option or file, and nothing is built."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from allotment.cli import main
from allotment_recipes.explain import inputs

PROFILE = """\
[buildout]
parts = top other profile
extends = base.cfg

[lib]
<= part
version = 1.0
post-install = mkdir @@LOCATION@@/share && echo ${:version} > @@LOCATION@@/share/name

[middle]
<= part
environment =
  LIB=${lib:location}
post-install =
  mkdir @@LOCATION@@/share
  cp ${lib:location}/share/name @@LOCATION@@/share

[top]
<= part
environment =
  MIDDLE=${middle:location}
post-install = cp -r ${middle:location}/share @@LOCATION@@

[other]
<= part
patches = ${:_profile_base_location_}/fix.patch#PATCH
post-install = sh ${:_profile_base_location_}/install.sh @@LOCATION@@

[profile]
recipe = allotment.recipes:template.jinja2
inline = [buildout]
output = ${buildout:directory}/instance.cfg
"""
BASE = """\
[part]
recipe = allotment.recipes:cmmi
url = {archive.url}
sha256sum = {archive.sha256}
configure-command = true
make-binary = true
version = 1
"""
PATCH = "--- README\n+++ README\n@@ -1 +1 @@\n-data\n+other\n"
DESCRIPTION = {
    "format": 1,
    "name": "planned",
    "licences": ["Apache-2.0"],
    "types": {
        "default": {
            "title": "Planned", "description": "Planned", "profile": "instance.cfg",
            "parameters": "any.json", "published": "any.json",
        }
    },
}  # fmt: skip


class Release:
    """A release that is built and planned by the commands."""

    def __init__(self, folder: Path, archive: Any, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = folder / "software" / "planned"
        self.root.mkdir(parents=True)
        self.folder = folder / "var/build/planned"
        self._capsys = capsys
        texts = {
            "software.cfg": PROFILE.replace("PATCH", _sha256(PATCH)),
            "base.cfg": BASE.format(archive=archive),
            "install.sh": "mkdir $1/share\necho one > $1/share/name\n",
            "fix.patch": PATCH,
            "software.cfg.json": json.dumps(DESCRIPTION),
            "any.json": "{}",
        }
        for name, text in texts.items():
            (self.root / name).write_text(text)

    def run(self, *words: str) -> str:
        self._capsys.readouterr()
        assert main([*words]) == 0, self._capsys.readouterr().err
        return self._capsys.readouterr().out

    def build(self) -> None:
        self.run("build", "software/planned")

    def plan(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("build", "software/planned", "--plan", "--json"))
        return found

    def change(self, name: str, old: str, new: str) -> None:
        path = self.root / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def location(self, part: str) -> Path:
        return Path(inputs.read(self.folder)[part]["location"])


def _sha256(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def planned(
    tmp_path: Path, sources: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Release:
    from allotment_recipes.testing.fake_sources import archive

    monkeypatch.chdir(tmp_path)
    (tmp_path / "var").mkdir()
    made = Release(tmp_path, sources.add(archive({"README": "data\n"}, "data-1"), "data-1.tar.gz"), capsys)
    (tmp_path / "var/sources").symlink_to(sources.folder)
    return made


def texts(plan: dict[str, Any]) -> dict[str, tuple[str, list[str]]]:
    return {part["part"]: (part["action"], [why["text"] for why in part["why"]]) for part in plan["parts"]}


def test_the_plan_of_a_first_build_builds_all_and_writes_nothing(planned: Release, tmp_path: Path) -> None:
    plan = planned.plan()
    assert texts(plan) == dict.fromkeys(["lib", "middle", "top", "other", "profile"], ("built", ["it is new"]))
    assert plan["unknown"] == ["lib", "middle", "top", "other"] and plan["seconds"] == 0
    assert not (tmp_path / "var/store").exists() and not planned.folder.exists()
    assert planned.run("build", "software/planned", "--plan").endswith(
        "5 built, 0 fetched, 0 reused; how long it takes is not known\n"
    )


def test_nothing_to_do_is_said(planned: Release) -> None:
    planned.build()
    plan = planned.plan()
    assert texts(plan) == dict.fromkeys(["lib", "middle", "top", "other", "profile"], ("reused", []))
    assert planned.run("build", "software/planned", "--plan") == "0 built, 0 fetched, 5 reused\n"


def test_the_first_change_is_told_before_what_follows_from_it(planned: Release) -> None:
    planned.build()
    planned.change("software.cfg", "version = 1.0", "version = 1.1")
    before = _tree(planned.folder.parents[1])
    plan = planned.plan()
    assert _tree(planned.folder.parents[1]) == before
    reason = "option version changed from 1.0 to 1.1"
    found = texts(plan)
    assert found["lib"][0] == "built" and found["lib"][1][0] == reason
    assert found["middle"] == ("built", ["lib changed"])
    assert found["top"] == ("built", ["middle changed"])
    assert found["other"] == found["profile"] == ("reused", [])
    assert [(cause["part"], cause["follow"]) for cause in plan["causes"]] == [("lib", ["middle", "top"])]
    assert plan["unknown"] == [] and plan["seconds"] >= 0
    text = planned.run("build", "software/planned", "--plan").splitlines()
    assert text[0].startswith(f"lib: {reason}") and text[0].endswith("; 2 parts follow: middle, top")
    assert any(line.startswith("built    top 1 ") and line.endswith("middle changed") for line in text)
    assert text[-1].startswith("3 built, 0 fetched, 2 reused; about ")


def test_a_changed_file_is_shown_by_its_lines(planned: Release) -> None:
    planned.build()
    planned.change("install.sh", "echo one", "echo two")
    (part,) = [part for part in planned.plan()["parts"] if part["part"] == "other"]
    assert [(why["kind"], why["name"]) for why in part["why"]] == [("file", "software/planned/install.sh")]
    assert "-echo one > $1/share/name" in part["why"][0]["lines"]
    assert "+echo two > $1/share/name" in part["why"][0]["lines"]
    text = planned.run("build", "software/planned", "--plan")
    assert "other: file software/planned/install.sh changed\n" in text and "\n  +echo two" in text


def test_a_mode_a_patch_and_a_list_are_named(planned: Release) -> None:
    planned.build()
    (planned.root / "install.sh").chmod(0o755)
    other = PATCH.replace("+other", "+third")
    planned.change("fix.patch", PATCH, other)
    planned.change("software.cfg", _sha256(PATCH), _sha256(other))
    planned.change("software.cfg", "  mkdir @@LOCATION@@/share\n", "  mkdir @@LOCATION@@/share\n  true more\n")
    found = texts(planned.plan())
    assert "file software/planned/install.sh changed its mode from 644 to 755" in found["other"][1]
    assert any(text.startswith("patch 0 changed") for text in found["other"][1])
    assert found["middle"][1] == ["option post-install changed"]
    assert "\n  +true more\n" in planned.run("build", "software/planned", "--plan")


def test_a_part_that_has_gone_from_the_store_is_told(planned: Release) -> None:
    planned.build()
    _discard(planned.location("middle"))
    found = texts(planned.plan())
    assert found["middle"] == ("built", ["it is no longer in the store, though its inputs are the same"])
    assert found["top"][0] == "reused"


def test_what_a_binary_cache_has_is_fetched(planned: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    planned.build()
    planned.run("cache", "push", "--cache", "cache", "--store", "var/store")
    planned.run("cache", "key", "--trust", json.loads(planned.run("cache", "key", "--json"))["public"])
    planned.change("software.cfg", "parts = top", "parts = more top")
    planned.change("software.cfg", "[profile]\n", "[more]\n<= part\nversion = 3\n\n[profile]\n")
    words = ("build", "software/planned", "--plan", "--cache", "cache", "--store", "var/other")
    found = texts(json.loads(planned.run(*words, "--json")))
    assert {part: action for part, (action, _) in found.items()} == {
        **dict.fromkeys(["lib", "middle", "top", "other"], "fetched"), "more": "built", "profile": "reused"
    }  # fmt: skip
    text = planned.run(*words)
    assert text.splitlines()[0].startswith("built    more 3")
    assert text.splitlines()[-1].startswith("1 built, 4 fetched, 1 reused")
    assert not (tmp_path / "var/other").exists()


def test_new_and_removed_parts_are_told(planned: Release) -> None:
    planned.build()
    planned.change("software.cfg", "parts = top other profile", "parts = top more profile\n")
    planned.change("software.cfg", "[profile]\n", "[more]\n<= part\nversion = 3\n\n[profile]\n")
    plan = planned.plan()
    assert texts(plan)["more"] == ("built", ["it is new"])
    assert plan["gone"] == ["other"]
    assert "the profile has no more: other\n" in planned.run("build", "software/planned", "--plan")


def test_a_change_that_another_release_has_built_already_is_no_work(planned: Release) -> None:
    planned.build()
    planned.change("software.cfg", "version = 1.0", "version = 1.1")
    planned.run("build", "software/planned", "--folder", "elsewhere")
    plan = planned.plan()
    assert [part["action"] for part in plan["parts"]] == ["reused"] * 5
    assert [cause["part"] for cause in plan["causes"]] == ["lib"]


def test_after_a_failed_build_what_changed_since_the_last_good_one_is_told(planned: Release) -> None:
    planned.build()
    planned.change("install.sh", "mkdir", "false;")
    assert main(["build", "software/planned"]) == 1
    assert texts(planned.plan())["other"][1] == [
        "the last build did not come to its end",
        "file software/planned/install.sh changed",
    ]


def test_why_tells_the_change_after_the_build_too(planned: Release) -> None:
    planned.build()
    text = planned.run("why", "middle", "--folder", str(planned.folder))
    assert "no other inputs of it are recorded" in text
    assert "is referred to by top" in text and "refers to lib" in text
    planned.change("install.sh", "echo one", "echo two")
    planned.change("software.cfg", "version = 1.0", "version = 1.1")
    planned.build()
    found = json.loads(planned.run("why", "lib", "--folder", str(planned.folder), "--json"))
    assert found["why"][0]["text"] == "option version changed from 1.0 to 1.1"
    assert found["is_referred_to_by"] == ["middle"] and found["is_there"] and found["bytes"] > 0
    text = planned.run("why", "other", "--folder", str(planned.folder))
    assert "built anew then: file software/planned/install.sh changed\n" in text and "+echo two" in text
    assert "built anew then: lib changed\n" in planned.run("why", "middle", "--folder", str(planned.folder))


def test_why_tells_what_the_next_build_would_do(planned: Release) -> None:
    planned.build()
    planned.change("software.cfg", "version = 1.0", "version = 1.1")
    found = json.loads(planned.run("why", "top", "software/planned", "--json"))["now"]
    assert found["action"] == "built" and found["roots"].keys() == {"lib"}
    assert found["roots"]["lib"][0] == "option version changed from 1.0 to 1.1"
    text = planned.run("why", "top", "software/planned")
    assert "now: it would be built: middle changed\n  lib: option version changed from 1.0 to 1.1" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["why", "midle", "--folder", "var/build/planned"], "no part 'midle'. Did you mean 'middle'?"),
        (["why", "lib", "--folder", "nowhere"], "nowhere has no record of a build. Build the release once"),
    ],
)
def test_what_is_not_there_is_named(
    planned: Release, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    planned.build()
    assert main(words) == 1
    assert message in capsys.readouterr().err


def _discard(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    shutil.rmtree(folder)


def _tree(folder: Path) -> set[tuple[str, int, int]]:
    """Return all files below a folder but those of the source cache, with their times."""
    found = set()
    for name, _, files in os.walk(folder):
        for path in (Path(name), *(Path(name, file) for file in files)):
            status = path.lstat()
            found.add((str(path), status.st_size, status.st_mtime_ns))
    return found
