# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (hostile lines stand whole)
"""Hostile wheels, git trees, source archives and patches, through pip, git, patch and the recipes that call them."""

import base64
import hashlib
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.recipes.hostile.archives import FILE, HOSTILE, MEGABYTE, zipped

from allotment.blobs import BlobStore
from allotment_recipes import wheels
from allotment_recipes.archive_limits import Rules, UnpackError
from allotment_recipes.recipes.gitclone import Recipe
from allotment_recipes.testing.fake_sources import archive
from allotment_recipes.unpack import check
from allotment_recipes.wheels import Pin, install

METADATA = b"Metadata-Version: 2.1\nName: bad\nVersion: 1.0\n"
WHEEL = b"Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def wheel(*more: tuple[str, bytes, int]) -> bytes:
    """Make a wheel of a module and what is given."""
    members = [("bad.py", b"", 0o644), *more, ("bad-1.0.dist-info/METADATA", METADATA, 0o644)]
    members.append(("bad-1.0.dist-info/WHEEL", WHEEL, 0o644))
    lines = []
    for name, data, _ in members:
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(data)}\n")
    record = "".join(lines) + "bad-1.0.dist-info/RECORD,,\n"
    return zipped(*members, ("bad-1.0.dist-info/RECORD", record.encode(), 0o644))


WHEELS = {
    "name that climbs": wheel(("../../hostile.py", FILE, 0o644)),
    "absolute name": wheel(("/tmp/hostile", FILE, 0o644)),
    "script that climbs": wheel(("bad-1.0.data/scripts/../../../../hostile", b"#!python\n", 0o755)),
    "data that climbs": wheel(("bad-1.0.data/data/../../../../hostile", FILE, 0o644)),
    "device": wheel(("bad/device", b"", stat.S_IFCHR | 0o666)),
    "bomb": wheel(("bad/zeros", bytes(32 * MEGABYTE), 0o644)),
}


@pytest.mark.parametrize("name", WHEELS)
def test_a_hostile_wheel_writes_nowhere_else(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "bomb":
        monkeypatch.setattr(wheels, "RULES", Rules(size=16 * MEGABYTE))
    blobs = BlobStore(tmp_path / "blobs")
    sha256 = blobs.write([WHEELS[name]])
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/programs").mkdir()
    with pytest.raises(UnpackError, match=r"bad==1\.0"):
        install([Pin("bad", "1.0", (sha256,))], blobs, tmp_path / "a/b/lib", tmp_path / "a/programs")
    assert sorted(path.name for path in tmp_path.rglob("*") if "blobs" not in path.parts) == ["a", "b", "programs"]
    assert not Path("/tmp/hostile").exists()


def test_a_wheel_that_is_none_of_these_is_installed(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path / "blobs")
    sha256 = blobs.write([wheel(("bad-1.0.data/scripts/say", b"#!python\n", 0o755))])
    (tmp_path / "programs").mkdir()
    assert set(install([Pin("bad", "1.0", (sha256,))], blobs, tmp_path / "lib", tmp_path / "programs")) == {"say"}


@pytest.mark.parametrize(
    "name", ["name that climbs", "absolute name", "fifo", "gz that is cut", "zip: name that climbs"]
)
def test_what_npm_and_pip_are_to_unpack_is_looked_at_first(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").write_bytes(HOSTILE[name]())
    with pytest.raises(UnpackError, match="bad@1"):
        check(tmp_path / "x", "bad@1")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_bombs_are_counted_without_writing(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(HOSTILE["zip: bomb"]())
    with pytest.raises(UnpackError, match="holds more than"):
        check(tmp_path / "x", "bad==1.0", rules=Rules(size=64 * MEGABYTE))


def test_a_hostile_source_archive_fails_its_part_only(release: Any, sources: Any, tmp_path: Path) -> None:
    bad = sources.add(HOSTILE["link out through a chain"](), "bad.tar")
    text = f"[buildout]\nparts = bad\n[bad]\nrecipe = allotment.recipes:source\nurl = {bad.url}\nsha256sum = {bad.sha256}\n"
    result = release.build(text)
    assert "is a link that leads out of it. Nothing of it was unpacked" in result.error
    assert list((release.folder / "store").glob("bad-*")) == []


# Git


def git(folder: Path, *words: str, given: bytes = b"") -> str:
    who = {f"GIT_{role}_{what}": "a@b" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", *words], cwd=folder, env={**os.environ, **who}, input=given, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


def tree_entry(mode: bytes, name: bytes, object_id: str) -> bytes:
    return mode + b" " + name + b"\0" + bytes.fromhex(object_id)


@pytest.mark.parametrize(
    "names",
    [
        [(b"40000", b"..")],
        [(b"40000", b".git")],
        [(b"40000", b".GIT")],
        [(b"100644", b"../hostile")],
        [(b"100644", b"a/../../hostile")],
        [(b"120000", b"a"), (b"40000", b"a")],  # a link that leads out, and a folder of that name with a file
    ],
    ids=["dots", "git folder", "git folder in capitals", "path that climbs", "path in a name", "link and folder"],
)
def test_a_hostile_tree_of_git_is_refused(tmp_path: Path, names: list[tuple[bytes, bytes]]) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    git(repository, "init", "-q", "-b", "main")
    file = git(repository, "hash-object", "-w", "--stdin", given=FILE)
    out = git(repository, "hash-object", "-w", "--stdin", given=str(tmp_path).encode())
    write = ("hash-object", "-w", "--literally", "--stdin", "-t", "tree")
    inner = git(repository, *write, given=tree_entry(b"100644", b"hostile", file))
    objects = {b"40000": inner, b"100644": file, b"120000": out}
    tree = git(repository, *write, given=b"".join(tree_entry(mode, name, objects[mode]) for mode, name in names))
    commit = git(repository, "commit-tree", "-m", "bad", tree)
    git(repository, "update-ref", "refs/heads/main", commit)
    (tmp_path / "work").mkdir()
    buildout = {"buildout": {"directory": str(tmp_path / "work"), "download-cache": str(tmp_path / "sources")}}
    recipe = Recipe(buildout, "tree", {"repository": str(repository), "revision": commit})
    with pytest.raises(Exception, match=r"git (fetch|checkout|reset|clone)"):
        recipe.install()
    assert not list(tmp_path.glob("hostile"))
    assert not list((tmp_path / "work").rglob("hostile"))
    assert not (tmp_path / "work/parts/tree").exists()


# Patches

NEW = "--- /dev/null\n+++ {name}\n@@ -0,0 +1 @@\n+hostile\n"
LINK = "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+{goal}\n\\ No newline at end of file\n"
PATCHES = {
    "name that climbs": NEW.format(name="../../../hostile"),
    "absolute name": NEW.format(name="{folder}/hostile"),
    "link, and a file through it": LINK.format(goal="{folder}") + NEW.format(name="l/hostile"),
    "link in place of a file, and a change of it": LINK.format(goal="{folder}/sentinel").replace("/l", "/file")
    + "--- a/file\n+++ b/file\n@@ -1 +1 @@\n-as it was\n+hostile\n",
    "commands for ed": "--- a/file\t2020-01-01\n+++ b/file\t2020-01-01\n1c\nhostile\n.\n!touch {folder}/hostile\nw\nq\n",
    "only commands for ed": "0a\nhostile\n.\n!touch {folder}/hostile\nw\n",
    "other name to move to": "diff --git a/file b/../../hostile\nsimilarity index 100%\nrename from file\nrename to ../../hostile\n",
}


@pytest.mark.parametrize("name", PATCHES)
@pytest.mark.parametrize("strip", ["-p0", "-p1"])
def test_a_hostile_patch_writes_nowhere_else(release: Any, sources: Any, tmp_path: Path, name: str, strip: str) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "sentinel").write_text("as it was\n")
    source = sources.add(archive({"file": "one\n"}), "s.tar.gz")
    patch = release.write("bad.patch", PATCHES[name].replace("{folder}", str(folder)))
    text = f"""
[buildout]
parts = patched
[patched]
recipe = allotment.recipes:cmmi
url = {source.url}
sha256sum = {source.sha256}
patches = {patch}#{hashlib.sha256(patch.read_bytes()).hexdigest()}
patch-options = {strip}
configure-command = true
make-binary =
make-targets = true
post-install = cp file @@LOCATION@@/
shared = false
"""
    release.build(text)
    assert [path.name for path in folder.iterdir()] == ["sentinel"]
    assert (folder / "sentinel").read_text() == "as it was\n"
    elsewhere = [path for path in tmp_path.rglob("hostile") if ".build" not in path.parts]
    assert [path for path in elsewhere if ".new" not in str(path)] == []
