# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
import dataclasses
import fcntl
import json
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.cli import main
from allotment.codec import dumps, loads
from allotment.errors import AllotmentError
from allotment.messages.manifest import ReleaseManifest
from allotment_recipes.engine import BuildEngine
from allotment_recipes.manifest import BuiltRelease, build_release, install_release
from allotment_recipes.store import platform_name

WriteTiny = Callable[[Path], Path]


@pytest.fixture
def build(engine: BuildEngine) -> Callable[..., BuiltRelease]:
    def build_in(root: Path, place: Path, profile: str = "software/tiny/software.cfg") -> BuiltRelease:
        return build_release(root / profile, root, place / "built", place / "sources", engine, place / "log")

    return build_in


def test_the_manifest_says_all_of_the_release(tmp_path: Path, write_tiny: WriteTiny, build: Any) -> None:
    write_tiny(tmp_path / "tree")
    built = build(tmp_path / "tree", tmp_path)
    manifest = built.manifest
    assert (manifest.name, manifest.profile, manifest.licences) == (
        "tiny",
        "software/tiny/software.cfg",
        ("Apache-2.0",),
    )
    assert manifest.software_types["default"].title == "Tiny"
    assert manifest.software_types["default"].parameters == {"type": "object"}
    assert list(manifest.parts) == [platform_name()]
    assert set(manifest.parts[platform_name()]) == {"profile"}
    assert [item.name for item in manifest.distributions] == ["allotment-recipes"]
    with tarfile.open(built.closure) as archive:
        assert archive.getnames() == [
            "software/stack/base.cfg",
            "software/stack/greeting.txt",
            "software/tiny/in.json",
            "software/tiny/instance.cfg.in",
            "software/tiny/out.json",
            "software/tiny/software.cfg",
            "software/tiny/software.cfg.json",
        ]
    assert manifest.closure.sha256 == built.closure.name
    assert manifest.closure.size == built.closure.stat().st_size
    assert loads(ReleaseManifest, (tmp_path / "built/manifest.json").read_bytes()) == manifest


def test_what_a_killed_build_has_left_of_the_closure_is_removed(
    tmp_path: Path, write_tiny: WriteTiny, build: Any
) -> None:
    write_tiny(tmp_path / "tree")
    (tmp_path / "built/.closure-k1ll3d_x/new").mkdir(parents=True)
    build(tmp_path / "tree", tmp_path)
    assert list((tmp_path / "built").glob(".closure-*/")) == []


def test_a_second_build_of_a_folder_is_refused_and_takes_nothing_away(
    tmp_path: Path, write_tiny: WriteTiny, build: Any
) -> None:
    profile = write_tiny(tmp_path / "tree")
    build(tmp_path / "tree", tmp_path)
    profile.write_text(profile.read_text() + "\n# changed\n")
    with (tmp_path / "built/.closure.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(AllotmentError) as caught:
            build(tmp_path / "tree", tmp_path)
    assert str(caught.value) == f"another build is at work in {tmp_path / 'built'}. Wait until it has ended."
    assert "changed" not in (tmp_path / "built/closure/software/tiny/software.cfg").read_text()


def test_two_checkouts_make_one_manifest(tmp_path: Path, short_path: Path, write_tiny: WriteTiny, build: Any) -> None:
    write_tiny(tmp_path / "checkout")
    write_tiny(short_path / "another/deeper")
    first = build(tmp_path / "checkout", tmp_path).manifest
    second = build(short_path / "another/deeper", short_path).manifest
    assert dumps(first) == dumps(second)
    for place in (tmp_path, short_path):
        assert str(place) not in dumps(first).decode()


def test_nothing_refers_to_the_checkout_after_the_build(tmp_path: Path, write_tiny: WriteTiny, build: Any) -> None:
    write_tiny(tmp_path / "checkout")
    build(tmp_path / "checkout", tmp_path)
    shutil.rmtree(tmp_path / "checkout")
    for path in (tmp_path / "built").rglob("*"):
        if path.is_file() and path.name != "log":
            assert str(tmp_path / "checkout") not in path.read_text(), path


def test_a_changed_file_is_another_manifest(tmp_path: Path, write_tiny: WriteTiny, build: Any) -> None:
    write_tiny(tmp_path / "tree")
    first = build(tmp_path / "tree", tmp_path).manifest
    assert build(tmp_path / "tree", tmp_path).manifest == first
    (tmp_path / "tree/software/stack/greeting.txt").write_text("changed")
    second = build(tmp_path / "tree", tmp_path).manifest
    assert second.closure != first.closure
    assert (tmp_path / "built/closure/software/stack/greeting.txt").read_text() == "changed"
    (tmp_path / "tree/software/stack/unused.txt").write_text("changed")
    assert build(tmp_path / "tree", tmp_path).manifest == second


def test_a_manifest_is_installed_from_its_closure_alone(
    tmp_path: Path, write_tiny: WriteTiny, build: Any, engine: BuildEngine
) -> None:
    write_tiny(tmp_path / "tree")
    built = build(tmp_path / "tree", tmp_path)
    shutil.rmtree(tmp_path / "tree")
    shutil.rmtree(tmp_path / "built")
    folder = tmp_path / "node" / "software"
    result = install_release(built.manifest, built.closure, folder, tmp_path / "cache", engine, tmp_path / "l")
    assert (result.ok, result.error) == (True, "")
    assert (folder / "instance.cfg").is_file()
    assert result.parts == built.manifest.parts[platform_name()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parts": {platform_name(): {"profile": "0" * 64}}}, "tiny: these parts have other inputs here than where it was proved: profile. The recipes are the same: install the compiler that it was proved with, here it is gcc "),
        ({"parts": {platform_name(): {"profile": "0" * 64}}, "distributions": ()}, "tiny: these parts have other inputs here than where it was proved: profile. Install the versions of the recipes "),
        ({"parts": {"linux-vax": {}}}, f"tiny was built for linux-vax, and this is {platform_name()}."),
        ({"profile": "../software.cfg"}, "the manifest's profile: '../software.cfg' is not a relative path inside it."),
    ],
)  # fmt: skip
def test_a_manifest_that_does_not_fit_is_refused(
    tmp_path: Path, write_tiny: WriteTiny, build: Any, engine: BuildEngine, change: dict[str, Any], message: str
) -> None:
    write_tiny(tmp_path / "tree")
    built = build(tmp_path / "tree", tmp_path)
    manifest = dataclasses.replace(built.manifest, **change)
    result = install_release(manifest, built.closure, tmp_path / "sr", tmp_path / "cache", engine, tmp_path / "l")
    assert not result.ok
    assert result.error.startswith(message)


def test_a_closure_with_other_bytes_is_refused(
    tmp_path: Path, write_tiny: WriteTiny, build: Any, engine: BuildEngine
) -> None:
    write_tiny(tmp_path / "tree")
    built = build(tmp_path / "tree", tmp_path)
    wrong = tmp_path / "wrong"
    wrong.write_bytes(built.closure.read_bytes() + b"\0")
    result = install_release(built.manifest, wrong, tmp_path / "sr", tmp_path / "cache", engine, tmp_path / "l")
    assert re.fullmatch(
        rf"{wrong} has the sha256 [0-9a-f]{{64}}, not {built.closure.name}\. Fetch it again\.", result.error
    )
    missing = install_release(built.manifest, tmp_path / "no", tmp_path / "sr", tmp_path / "c", engine, tmp_path / "l")
    assert missing.error.startswith(f"{tmp_path}/no: No such file or directory. Mend that")


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("software.cfg.json", None, None, r"software\.cfg\.json does not exist\. Describe the release's name"),
        ("software.cfg.json", '"format": 1', '"format": 2', r"software\.cfg\.json: .*format 2 is not known; this version reads format 1"),
        ("software.cfg.json", '"title"', '"titel"', r"has an unknown field 'titel'\. Did you mean 'title'\?"),
        ("software.cfg.json", "in.json", "no.json", r"no\.json can't be read: No such file or directory\. Correct software"),
        ("software.cfg.json", "instance.cfg", "other.cfg", r"tiny: software type 'default' has the profile other\.cfg, which no part wrote"),
        ("in.json", "{", "[", r"in\.json is not JSON"),
        ("in.json", '"object"', '"integer", "writeOnly": true', r"in\.json: writeOnly: a secret is a string, not integer"),
        ("in.json", "object", "objekt", r"in\.json is not a JSON schema: type: 'objekt' is not valid"),
        ("software.cfg", "instance.cfg.in", "nothing.in", r"\[profile\] url: .*/nothing\.in does not exist\. Correct the path"),
        ("software.cfg", "parts = profile", "parts = profile\n  nothing", r"tiny can't be built, see .*: \[buildout\] refers to the section 'nothing'"),
        ("software.cfg", "../stack", "../../../stack", r"\[buildout\] extends: .*/stack/.* does not exist\. Correct it in .*/software\.cfg, or in what"),
        ("software.cfg.json", '"tiny"', '"tinny"', r"software\.cfg\.json: name is 'tinny' and its folder is 'tiny'\. Write \"name\": \"tiny\", or"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_release_is_named(
    tmp_path: Path, write_tiny: WriteTiny, build: Any, name: str, old: str | None, new: str, message: str
) -> None:
    path = write_tiny(tmp_path / "tree").with_name(name)
    if old is None:
        path.unlink()
    else:
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    with pytest.raises(AllotmentError, match=message):
        build(tmp_path / "tree", tmp_path)


def test_the_command_builds_and_prints_the_manifest(
    tmp_path: Path, write_tiny: WriteTiny, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny(tmp_path / "tree")
    monkeypatch.chdir(tmp_path)
    assert main(["build", "tree/software/tiny", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["folder"] == str(tmp_path / "var/build/tiny")
    assert printed["manifest"]["name"] == "tiny"
    assert len(printed["sha256"]) == 64
    assert main(["build", "tree/software/tiny/software.cfg", "--folder", "b"]) == 0
    assert capsys.readouterr().out.startswith(f"tiny {printed['sha256']}\n")


def test_a_component_is_built_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (
        "[words]\nrecipe = allotment.recipes:template.jinja2\ninline = hello\noutput = ${buildout:directory}/words\n"
    )
    for name, text in {"base": words, "tiny": "[buildout]\nextends = ../base/buildout.cfg\nparts = words\n"}.items():
        profile = tmp_path / "components" / name / "buildout.cfg"
        profile.parent.mkdir(parents=True)
        profile.write_text(text)
    monkeypatch.chdir(tmp_path)
    assert main(["build", "components/tiny", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["manifest"]["name"] == "tiny"
    assert printed["manifest"]["software_types"] == {}
    assert (tmp_path / "var/build/tiny/words").read_text() == "hello"
    assert main(["why", "words", "components/tiny"]) == 0
    assert "now: it would be reused" in capsys.readouterr().out


def test_a_release_has_a_type(tmp_path: Path, write_tiny: WriteTiny, build: Any) -> None:
    document = write_tiny(tmp_path / "tree").with_name("software.cfg.json")
    document.write_text(json.dumps({**json.loads(document.read_text()), "types": {}}))
    with pytest.raises(AllotmentError, match=r"software\.cfg\.json: types is empty\. Name at least 'default'\."):
        build(tmp_path / "tree", tmp_path)


def test_the_command_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", str(tmp_path / "nothing")]) == 1
    assert capsys.readouterr().err == (
        f"error: {tmp_path}/nothing does not exist. Give the path of a software.cfg, or of its folder.\n"
    )
