# SPDX-License-Identifier: Apache-2.0
import hashlib
import io
import os
import re
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment_recipes import closure
from allotment_recipes.closure import ClosureError, pack, release_files, safe_name, unpack


def tar_of(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    return info, b"data" if kind == tarfile.REGTYPE else b""


@given(
    st.dictionaries(st.from_regex(r"[a-zäß][a-z0-9._-]{0,120}", fullmatch=True), st.binary(max_size=3000), max_size=5)
)
def test_packing_and_unpacking_give_the_same_files(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    root = tmp_path_factory.mktemp("root")
    for name, data in files.items():
        (root / name).write_bytes(data)
    data = pack(root, root.iterdir())
    archive = root / ".archive"
    archive.write_bytes(data)
    unpack(archive, root / "copy")
    assert {path.name: path.read_bytes() for path in (root / "copy").iterdir()} == files
    assert pack(root / "copy", sorted((root / "copy").iterdir(), reverse=True)) == data


def test_the_archive_depends_on_names_and_bytes_only(tmp_path: Path, short_path: Path) -> None:
    hashes = []
    for root, mtime in ((tmp_path / "a", 1), (short_path / "b", 10**9)):
        root.mkdir()
        (root / "file").write_text("x")
        (root / "tool").write_text("y")
        (root / "tool").chmod(0o700)
        os.utime(root / "file", (mtime, mtime))
        hashes.append(hashlib.sha256(pack(root, root.iterdir())).hexdigest())
    assert hashes[0] == hashes[1]


def test_an_executable_stays_one(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "tool").chmod(0o711)
    (tmp_path / "archive").write_bytes(pack(tmp_path, [tmp_path / "tool"]))
    unpack(tmp_path / "archive", tmp_path / "out")
    assert (tmp_path / "out/tool").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../up", "a/../../up", "a\\b", "..", "a\nb", "x" * 1001, ""],
    ids=lambda name: repr(name)[:12],
)
def test_a_name_that_leads_outside_is_refused(name: str) -> None:
    with pytest.raises(ClosureError, match="is not a relative path inside it"):
        safe_name(name, "archive")


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a/../../up"])
def test_an_archive_that_leads_outside_leaves_nothing(tmp_path: Path, name: str) -> None:
    archive = tar_of(tmp_path / "x.tar", member("good"), member(name))
    with pytest.raises(ClosureError):
        unpack(archive, tmp_path / "deep" / "out")
    assert list((tmp_path / "deep").iterdir()) == []
    assert not (tmp_path / "up").exists()


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE],
    ids=["sym", "hard", "char", "block", "fifo"],
)
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    archive = tar_of(tmp_path / "x.tar", member("bad", kind, "/etc/passwd"))
    with pytest.raises(
        ClosureError, match=re.escape("x.tar: 'bad' is a link or a device. Only plain files are accepted.")
    ):
        unpack(archive, tmp_path / "out")


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tar_of(tmp_path / "x.tar", member("a"), member("b"), member("c"))
    monkeypatch.setattr(closure, "COUNT_LIMIT", 2)
    with pytest.raises(ClosureError, match="holds more than 2 files"):
        unpack(archive, tmp_path / "out")
    monkeypatch.setattr(closure, "COUNT_LIMIT", 100)
    monkeypatch.setattr(closure, "SIZE_LIMIT", 7)
    with pytest.raises(ClosureError, match="or 7 bytes"):
        unpack(archive, tmp_path / "out")


@pytest.mark.parametrize("cut", [100, 600, 1100])
def test_a_cut_archive_is_refused(tmp_path: Path, cut: int) -> None:
    info, _ = member("file")
    whole = tar_of(tmp_path / "x.tar", (info, b"z" * 2000)).read_bytes()
    (tmp_path / "y.tar").write_bytes(whole[:cut])
    with pytest.raises(ClosureError, match=r"y\.tar (is not an archive|ends inside)"):
        unpack(tmp_path / "y.tar", tmp_path / "out")


def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "x.tar", member("a"), member("a"))
    with pytest.raises(ClosureError, match="'a' is there twice"):
        unpack(archive, tmp_path / "out")


@given(st.binary(max_size=2048))
def test_any_bytes_are_unpacked_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "x.tar").write_bytes(data)
    try:
        unpack(folder / "x.tar", folder / "out")
    except ClosureError:
        assert not (folder / "out").exists()


def test_a_release_without_its_tests_and_leftovers(tmp_path: Path) -> None:
    for name in (
        "software.cfg",
        "deep/file.in",
        "test/test_x.py",
        "__pycache__/a.pyc",
        ".hidden",
        "file~",
        "deep/.git/x",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert [path.relative_to(tmp_path).as_posix() for path in release_files(tmp_path)] == [
        "deep/file.in",
        "software.cfg",
    ]


def test_a_link_in_a_release_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(ClosureError, match=r"link is not a regular file\. Put a copy of the file in its place\."):
        pack(tmp_path, release_files(tmp_path))


def test_a_file_outside_the_tree_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "outside").write_text("")
    with pytest.raises(ClosureError, match=r"outside is outside .*/tree\. Move it into the tree"):
        pack(tmp_path / "tree", [tmp_path / "outside"])


def test_unpacking_replaces_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("")
    unpack(tar_of(tmp_path / "x.tar", member("new")), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new"]
