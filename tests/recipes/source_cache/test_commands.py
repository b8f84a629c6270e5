# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""The commands of the source cache, by the real ``allot``."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from allotment.blobs import BlobStore
from allotment_recipes.source_cache import notes
from allotment_recipes.testing.fake_sources import archive

ALLOT = [sys.executable, "-m", "allotment", "source"]


def allot(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "ALLOTMENT_SOURCE_SERVERS": "off"}
    return subprocess.run(
        [*ALLOT, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False
    )


def write_release(folder: Path, text: str) -> Path:
    place = folder / "software/some"
    place.mkdir(parents=True)
    (place / "software.cfg").write_text(text)
    return place


def test_what_can_be_had_is_there_and_what_can_not_is_listed(tmp_path: Path, sources: Any) -> None:
    good, patch = sources.serve("good.tar.gz", archive({"a": "a\n"})), sources.serve("some.patch", b"patch\n")
    tarball = sources.serve("one-1.0.0.tgz", b"one")
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(b"one").digest()).decode()
    place = write_release(
        tmp_path,
        f"""
[buildout]
parts = good bad app packages
[good]
recipe = allotment.recipes:download-unpacked
url = {good.url}
sha256sum = {good.sha256}
[bad]
recipe = allotment.recipes:download
url = {tmp_path}/nowhere
sha256sum = {"1" * 64}
[app]
recipe = allotment.recipes:cmmi
url = {good.url}
sha256sum = {good.sha256}
patches = {patch.url}#{patch.sha256}
[packages]
recipe = allotment.recipes:npm
path = ${{:_profile_base_location_}}
""",
    )
    package = {"version": "1.0.0", "resolved": tarball.url, "integrity": integrity}
    (place / "package.json").write_text('{"name": "x", "version": "1.0.0", "dependencies": {"one": "1.0.0"}}')
    (place / "package-lock.json").write_text(
        json.dumps({"lockfileVersion": 3, "packages": {"": {}, "node_modules/one": package}})
    )
    before = allot(tmp_path, "list", "software/some", "--missing", "--json")
    wanted = json.loads(before.stdout)["releases"]["software/some"]["wanted"]
    assert before.stderr == ""
    assert [(item["part"], item["kind"]) for item in wanted] == [
        ("good", "source"), ("bad", "source"), ("app", "source"), ("app", "patch"), ("packages", "npm"),
    ]  # fmt: skip
    done = allot(tmp_path, "fetch", "--all", "--json")
    assert done.returncode == 1
    assert f"(sha256 {'1' * 64}) can't be had" in done.stderr
    assert "What could be had is there: call it again." in done.stderr
    found = json.loads(done.stdout)["releases"]["software/some"]["wanted"]
    assert [item["size"] is None for item in found] == [False, True, False, False, False]
    assert sources.asked.count("good.tar.gz") == 1
    (left,) = json.loads(allot(tmp_path, "list", "--all", "--missing", "--json").stdout)["releases"].values()
    assert [item["part"] for item in left["wanted"]] == ["bad"]
    assert "missing" in allot(tmp_path, "list", "software/some").stdout


def test_the_cache_is_listed_with_names_and_the_day_of_the_last_use(tmp_path: Path) -> None:
    (tmp_path / "a file").write_bytes(b"bytes")
    sha256 = hashlib.sha256(b"bytes").hexdigest()
    done = allot(tmp_path, "add", "a file")
    assert done.stdout == f"url = ${{:_profile_base_location_}}/a file\nsha256sum = {sha256}\n"
    blobs = BlobStore(tmp_path / "var/sources")
    year = time.time() - 400 * 86400
    for path in blobs.folder.rglob(sha256):
        os.utime(path, (year, year))
    day = time.strftime("%Y-%m-%d", time.gmtime(year))
    assert allot(tmp_path, "list").stdout == f"{sha256}       5 B  {day}  a file\n"
    notes.note(blobs, sha256, "another name")
    (item,) = json.loads(allot(tmp_path, "list", "--json").stdout)["sources"]
    assert (item["names"], item["size"]) == (["a file", "another name"], 5)
    assert item["used"] == pytest.approx(time.time(), abs=60)
    (blobs.folder / ".notes" / sha256[:2] / sha256).write_bytes(b"damaged")
    assert json.loads(allot(tmp_path, "list", "--json").stdout)["sources"][0]["names"] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["add", "nothing"], "error: nothing is no file and no address. Give a file, a URL, or a git URL with --revision."),
        (["add", "ftp://x/y"], "error: ftp://x/y can't be fetched. Give http, https or file, or a git URL with"),
        (["add", "http://user:word@x/y"], "error: http://x/y is written with a name or password. Profiles must not tell"),
        (["add", "https://x/y.git"], "--revision is missing: say which commit, tag or branch of the repository"),
        (["add", "file:///x/y", "--submodules"], "--submodules and --sparse-checkout are for git repositories"),
        (["add", "/x/y.git", "--revision", "v1"], "error: git fetch: fatal: '/x/y.git' does not appear to be a git"),
        (["fetch"], "PATHS are missing: give a software.cfg or its folder, or --all"),
        (["fetch", "."], "software.cfg does not exist. Give the path of a software.cfg, or of its folder."),
        (["list", "--missing"], "--missing is asked of releases: give their PATHS, or --all"),
        (["serve", "--host", "::"], "error: :: can be reached by others, and there is no certificate. Give --certificate"),
        (["serve", "--certificate", "bad.pem"], "bad.pem with its key can't be read: "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(tmp_path: Path, words: list[str], message: str) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    done = allot(tmp_path, *words)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_release_of_which_nothing_is_missing_says_so(tmp_path: Path) -> None:
    write_release(tmp_path, "[buildout]\nparts =\n")
    assert allot(tmp_path, "list", "software/some", "--missing").stdout == "software/some: nothing is missing\n"
