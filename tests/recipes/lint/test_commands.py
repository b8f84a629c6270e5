# SPDX-License-Identifier: Apache-2.0
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from allotment.cli import main
from allotment_recipes.commands.lint import check
from allotment_recipes.lint.find import profiles

Release = Callable[..., Path]
ROOT = Path(__file__).parents[3]
LEFT = "[buildout]\nparts =\n[left]\na = b\n"
PARTS = "[buildout]\nparts = page\n[page]\nrecipe = allotment.recipes:mkdirectory\na = x\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_lint_tells_problems_and_exits_with_1(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "one").mkdir()
    (folder / "one" / "buildout.cfg").write_text(PARTS + "[left]\na = b\n")
    assert main(["lint"]) == 1
    printed = capfd.readouterr()
    assert printed.out == (
        "one/buildout.cfg:6: [left] is used by no part. List it in parts, refer to it, or take it out. [unused]\n"
    )
    assert printed.err == "error: 1 problem in 1 profile. Each line above names the place and the fix.\n"


def test_lint_of_what_is_right_says_so(folder: Path, release: Release, capfd: pytest.CaptureFixture[str]) -> None:
    release(folder / "site")
    assert main(["lint", "site"]) == 0
    assert capfd.readouterr().out == "1 profile: no problems\n"


def test_lint_as_json_is_one_object(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "buildout.cfg").write_text(PARTS + "[left]\na = b\n")
    assert main(["lint", "--json", "buildout.cfg"]) == 1
    document = json.loads(capfd.readouterr().out)
    assert document["profiles"] == 1
    assert document["problems"] == [
        {
            "path": "buildout.cfg",
            "line": 6,
            "rule": "unused",
            "what": "[left] is used by no part",
            "fix": "List it in parts, refer to it, or take it out",
        }
    ]


def test_our_own_profiles_have_no_problems() -> None:
    found = profiles([ROOT / "components", ROOT / "software"])
    assert len(found) > 15
    assert check(found, frozenset(), None) == []


def test_a_rule_can_be_skipped_and_an_unknown_one_is_told(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "buildout.cfg").write_text(PARTS + "[left]\na = b\n")
    assert main(["lint", "--skip", "unused"]) == 0
    assert main(["lint", "--skip", "unusd"]) == 2
    assert "'unusd' is no rule. Did you mean 'unused'?" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "error: nowhere does not exist. Name a profile, or its folder.\n"),
        (
            "empty",
            "error: empty has no buildout.cfg or software.cfg, nor has a folder below it. "
            "Name a profile, or its folder.\n",
        ),
    ],
)
def test_a_path_without_profiles_is_told(
    folder: Path, capfd: pytest.CaptureFixture[str], path: str, message: str
) -> None:
    (folder / "empty").mkdir()
    assert main(["lint", path]) == 1
    assert capfd.readouterr().err == message


def test_hash_check_tells_what_update_then_mends(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "page.in").write_text("hello")
    (folder / "buildout.cfg").write_text("[page]\nfilename = page.in\nsha256sum = 00\n")
    assert main(["hash", "check"]) == 1
    printed = capfd.readouterr()
    assert printed.out.startswith("buildout.cfg:3: [page] the checksum of page.in is 2cf24dba")
    assert printed.err == "error: 1 of 1 checksums are wrong. Run 'allot hash update'.\n"
    assert main(["lint"]) == 1
    assert "[checksum]" in capfd.readouterr().out
    assert main(["hash", "update"]) == 0
    assert capfd.readouterr().out.splitlines()[-1] == "1 checksums changed"
    assert main(["hash", "check", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"checksums": 1, "wrong": []}
    assert main(["hash", "update", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"changed": []}
