# SPDX-License-Identifier: Apache-2.0
"""The sources of all parts are fetched before the first one is built."""

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from allotment_recipes.engine import BuildEngine

PROFILE = """\
[buildout]
parts = {parts}
"""
PART = """\
[{name}]
recipe = allotment.recipes:cmmi
url = {path}
sha256sum = {sha256}
configure-command = true
make-binary = true
make-targets =
post-install = touch @@LOCATION@@/{name}
"""


def pin(folder: Path, name: str) -> tuple[str, Path]:
    """Write an archive; return a section that is built from it, and its path."""
    path = folder / f"{name}.tar"
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    return PART.format(name=name, path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest()), path


def test_all_that_can_not_be_had_is_told_before_anything_is_built(release: Any, tmp_path: Path) -> None:
    pins = [pin(tmp_path, name) for name in ("here", "gone", "lost")]
    for _, path in pins[1:]:
        path.unlink()
    result = release.build(PROFILE.format(parts="here gone lost") + "".join(text for text, _ in pins))
    assert not result.ok
    assert "gone.tar" in result.error and "lost.tar" in result.error and "here.tar" not in result.error
    assert list(release.folder.glob("store/**/here")) == []


def test_wheels_and_files_with_a_destination_are_told_with_the_others(
    release: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    section, path = pin(tmp_path, "gone")
    path.unlink()
    others = f"""\
[wheel]
recipe = allotment.recipes:python.scripts
eggs = waitress
[versions]
waitress = 3.0.2
[hashes]
waitress = sha256:{"c" * 64}
[file]
recipe = allotment.recipes:download
url = /nowhere/lost.bin
sha256sum = {"b" * 64}
destination = ${{buildout:directory}}/lost.bin
"""
    with BuildEngine() as engine:
        result = replace(release, engine=engine).build(PROFILE.format(parts="gone wheel file") + section + others)
    assert all(f"{name} (sha256 " in result.error for name in ("gone.tar", "waitress==3.0.2", "lost.bin"))


def test_a_part_that_is_there_needs_no_source(release: Any, tmp_path: Path) -> None:
    pins = [pin(tmp_path, name) for name in ("one", "two")]
    profile = PROFILE.format(parts="one two") + "".join(text for text, _ in pins)
    assert release.build(profile).error == ""
    for _, path in pins:
        path.unlink()
    for blob in release.sources.glob("??/*"):
        blob.unlink()
    assert release.build(profile).error == ""
