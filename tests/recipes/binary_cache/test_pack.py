# SPDX-License-Identifier: Apache-2.0
"""Packing a part and unpacking it below another root: the same files, and every name of the store replaced."""

import base64
import bz2
import gzip
import importlib.util
import io
import json
import lzma
import os
import py_compile
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from allotment.errors import AllotmentError
from allotment_recipes.binary_cache import members, pack, prefix, unpacking
from allotment_recipes.binary_cache.members import Member
from allotment_recipes.shared_store import remove, seal
from allotment_recipes.store import ROOT_LENGTH, padded_root

Files = dict[str, bytes | str]


class Part:
    """A part in a store, written by a test."""

    def __init__(self, store: Path) -> None:
        self.root = padded_root(store)
        self.folder = self.root / "part-1-0123"
        self.folder.mkdir(parents=True)
        self.archive = store / "part.tar.zst"

    def write(self, name: str, data: bytes | str, mode: int = 0o644) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        path.chmod(mode)
        return path

    def pack(self) -> pack.Packed:
        self.archive.unlink(missing_ok=True)
        return pack.pack(self.folder, self.root, self.archive)

    def to(self, store: Path, elsewhere: dict[str, Path] | None = None) -> Path:
        """Pack, and unpack into another store; return the part there."""
        packed = self.pack()
        folder = padded_root(store) / self.folder.name
        folder.mkdir(parents=True)
        with self.archive.open("rb") as file:
            unpacking.unpack(file, folder, folder.parent, packed.size, packed.count, elsewhere or {})
        seal(folder)
        return folder


@pytest.fixture
def part(short_path: Path) -> Any:
    yield Part(short_path / "store")
    remove(short_path / "store")


def test_names_of_the_store_are_replaced_in_files_and_links(part: Part, tmp_path: Path) -> None:
    root = os.fsencode(part.root)
    part.write("bin/script", b"#!" + root + b"/python-3-1/bin/python\n", 0o755)
    part.write("lib/binary", bytes(range(256)) * 99 + root + b"/a\0" + root + b"\0" + bytes(5000))
    (part.folder / "bin/link").symlink_to(part.root / "python-3-1/bin/python")
    (part.folder / "bin/inside").symlink_to("../lib/binary")
    there = part.to(tmp_path / "s")
    new = os.fsencode(there.parent)
    assert len(new) == len(root) == ROOT_LENGTH
    assert (there / "bin/script").read_bytes() == b"#!" + new + b"/python-3-1/bin/python\n"
    assert (there / "lib/binary").read_bytes() == (part.folder / "lib/binary").read_bytes().replace(root, new)
    assert str((there / "bin/link").readlink()) == f"{there.parent}/python-3-1/bin/python"
    assert str((there / "bin/inside").readlink()) == "../lib/binary"
    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in there.rglob("*") if not path.is_symlink()}
    assert modes == {"bin": 0o555, "lib": 0o555, "script": 0o555, "binary": 0o444}


def test_a_name_across_the_pieces_that_are_read_is_replaced(part: Part, tmp_path: Path) -> None:
    root = os.fsencode(part.root)
    part.write("large", bytes((1 << 20) - 70) + root + bytes(3 << 20) + root)
    there = part.to(tmp_path / "s")
    assert (there / "large").read_bytes().count(os.fsencode(there.parent)) == 2
    assert root not in (there / "large").read_bytes()


def test_the_same_part_of_two_stores_is_packed_as_the_same_bytes(part: Part, tmp_path: Path) -> None:
    part.write("share/where", f"{part.root}/part-1-0123\n")
    part.write("module.py", f"HERE = '{part.root}'\n")
    py_compile.compile(
        str(part.folder / "module.py"), invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH, dfile="m.py"
    )
    there = part.to(tmp_path / "another")
    os.utime(there / "share/where", (1, 1))
    pack.pack(there, there.parent, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == part.archive.read_bytes()


def test_a_reference_that_is_in_another_store_is_named_there(part: Part, tmp_path: Path) -> None:
    lower = padded_root(tmp_path / "lower")
    part.write("where", f"{part.root}/zlib-1-00/lib {part.root}/mine-1-00")
    (part.folder / "link").symlink_to(f"{part.root}/zlib-1-00/lib")
    there = part.to(tmp_path / "s", {"zlib-1-00": lower})
    assert (there / "where").read_text() == f"{lower}/zlib-1-00/lib {there.parent}/mine-1-00"
    assert str((there / "link").readlink()) == f"{lower}/zlib-1-00/lib"


@pytest.mark.parametrize("mode", list(py_compile.PycInvalidationMode))
def test_compiled_python_stays_good_for_its_source(
    part: Part, tmp_path: Path, mode: py_compile.PycInvalidationMode
) -> None:
    source = part.write("lib/where.py", f"HERE = {str(part.root)!r}\n")
    os.utime(source, (1234567890, 1234567890))
    py_compile.compile(str(source), invalidation_mode=mode)
    there = part.to(tmp_path / "s")
    code = "import where, sys; print(where.HERE)"
    command = [sys.executable, "-v", "-c", code]
    done = subprocess.run(command, env={"PYTHONPATH": str(there / "lib")}, capture_output=True, text=True, check=True)
    assert done.stdout == f"{there.parent}\n"
    assert f"code object from '{there}/lib/__pycache__/where" in done.stderr or "matches" in done.stderr
    assert "bytecode is stale" not in done.stderr


def test_hard_links_stay_one_file(part: Part, tmp_path: Path) -> None:
    first = part.write("bin/git", b"x" * 1000, 0o755)
    (part.folder / "bin/git-add").hardlink_to(first)
    packed = part.pack()
    there = part.to(tmp_path / "s")
    assert (there / "bin/git").stat().st_ino == (there / "bin/git-add").stat().st_ino
    assert packed.size == 1000


def test_odd_and_long_names_stay_what_they_are(part: Part, tmp_path: Path) -> None:
    names = ["a b\\c\n", "\udce4\udcff", "d" * 250, f"{'e' * 120}/{'f' * 120}/{'g' * 120}", "x" * 100, "x" * 101]
    for name in names:
        part.write(name, name.encode(errors="surrogateescape"))
    (part.folder / "far").symlink_to("t" * 3000)
    there = part.to(tmp_path / "s")
    assert all((there / name).read_bytes() == name.encode(errors="surrogateescape") for name in names)
    assert (there / "far").readlink() == Path("t" * 3000)


def test_an_archive_is_one_that_tar_reads(part: Part, tmp_path: Path) -> None:
    part.write(f"{'n' * 120}/file", "content")
    part.write("empty", b"")
    (part.folder / "link").symlink_to("n" * 150)
    part.pack()
    with tarfile.open(fileobj=io.BytesIO(zstd.decompress(part.archive.read_bytes()))) as archive:
        found = {member.name: member for member in archive}
        assert list(found) == [".allotment-offsets", "empty", "link", "n" * 120, f"{'n' * 120}/file"]
        assert {(item.uid, item.gid, item.uname, item.mtime) for item in found.values()} == {(0, 0, "", 0)}
        assert found["link"].linkname == "n" * 150
    subprocess.run(["tar", "--zstd", "-xf", part.archive, "-C", tmp_path], check=True)
    assert (tmp_path / f"{'n' * 120}/file").read_text() == "content"


@given(st.lists(st.one_of(st.binary(max_size=300), st.just(b"@root@"), st.just(b"@root@/x-1\0")), max_size=20))
def test_any_bytes_come_back(pieces: list[bytes]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="a-") as name:
        part = Part(Path(name).resolve() / "first")
        data = b"".join(pieces).replace(b"@root@", os.fsencode(part.root))
        part.write("file", data)
        there = part.to(Path(name).resolve() / "the-second")
        replaced = (there / "file").read_bytes()
        assert len(replaced) == len(data)
        assert pack.pack(there, there.parent, Path(name, "again")).size == len(data)
        assert Path(name, "again").read_bytes() == part.archive.read_bytes()
        remove(there.parent)


# What hides the store's name


def zipped(name: str, data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return stream.getvalue()


def tarred(data: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        info = tarfile.TarInfo("member")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


HIDING: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "gzip": (gzip.compress, "names the store compressed by gzip"),
    "xz": (lzma.compress, "names the store compressed by xz"),
    "lzma": (lambda data: lzma.compress(data, lzma.FORMAT_ALONE), "names the store compressed by lzma"),
    "bzip2": (bz2.compress, "names the store compressed by bzip2"),
    "zstd": (zstd.compress, "names the store compressed by zstd"),
    "zip": (lambda data: zipped("a/b", data), "names the store in the member a/b of a zip archive"),
    "zipapp": (
        lambda data: b"#!/usr/bin/env python3\n" + zipped("a/b", data),
        "names the store in the member a/b of a zip archive",
    ),
    "tar.gz": (tarred, "names the store compressed by gzip"),
    "zip in zip": (lambda data: zipped("w.whl", zipped("x", data)), "names the store in the member x of a zip archive"),
    "gz in zip": (lambda data: zipped("m.gz", gzip.compress(data)), "names the store compressed by gzip"),
    "base64": (lambda data: b"data:" + base64.b64encode(b"xy" + data), "names the store in base64"),
    "base64 shifted": (lambda data: base64.b64encode(data), "names the store in base64"),
    "hex": (lambda data: data.hex().encode(), "names the store in hexadecimal digits"),
    "json": (lambda data: data.replace(b"/", b"\\/"), "names the store with escaped slashes"),
    "url": (lambda data: data.replace(b"/", b"%2F"), "names the store as part of a URL"),
    "utf-16": (lambda data: data.decode("latin-1").encode("utf-16-le"), "names the store in UTF-16"),
}


@pytest.mark.parametrize("kind", HIDING)
def test_what_hides_the_name_of_the_store_is_named(part: Part, kind: str) -> None:
    hide, reason = HIDING[kind]
    part.write("share/hiding", hide(b"text " * 50 + os.fsencode(part.root) + b"/part more text"))
    part.write("share/harmless", hide(b"text " * 500))
    assert [(item.file, item.reason) for item in part.pack().fixed] == [("share/hiding", reason)]


def test_a_name_across_the_pieces_that_are_decompressed_is_found(part: Part) -> None:
    part.write("a.gz", gzip.compress(os.urandom((1 << 20) - 70) + os.fsencode(part.root) + os.urandom(1 << 20)))
    assert [item.file for item in part.pack().fixed] == ["a.gz"]


@pytest.mark.parametrize("start", [b"\x1f\x8b", b"\xfd7zXZ\x00", b"BZh9", b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"]\0\0"])
def test_what_only_looks_compressed_does_not_stop_anything(part: Part, start: bytes) -> None:
    part.write("looks", start + b"like it" * 99)
    part.write("short", start)
    assert part.pack().fixed == []


# Archives that nobody of ours has packed


def packed(*items: tuple[Member, bytes], table: Any = None, end: bytes = members.END) -> bytes:
    table = table or {"format": 1, "offsets": [], "hashed": []}
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    data = b""
    for member, content in ((Member(pack.TABLE, members.FILE, 0o444, len(text)), text), *items):
        data += members.header(member) + content + bytes(members.padding(len(content)))
    return data + end


def file(name: bytes, content: bytes = b"", **more: Any) -> tuple[Member, bytes]:
    return Member(name, more.pop("kind", members.FILE), more.pop("mode", 0o444), len(content), **more), content


def with_table(*items: tuple[Member, bytes], offsets: Any = (), hashed: Any = (), format: int = 1) -> bytes:
    return packed(*items, table={"format": format, "offsets": offsets, "hashed": hashed})


def odd(kind: bytes) -> bytes:
    return packed((Member(b"x", kind), b""))


X, Y = file(b"x", b"abc"), file(b"y")
AT = file(b"x", prefix.ANY_ROOT)
FOLDER = (Member(b"d", members.FOLDER), b"")
OUT = (Member(b"d", members.LINK, link=b"/etc"), b"")
REFUSED: dict[str, tuple[bytes, str]] = {
    "parent": (packed(file(b"../x")), "'../x' is not a name inside it"),
    "absolute": (packed(file(b"/etc/x")), "'/etc/x' is not a name inside it"),
    "dot": (packed(file(b"./x")), "'./x' is not a name inside it"),
    "empty step": (packed(FOLDER, file(b"d//x")), "'d//x' is not a name inside it"),
    "twice": (packed(Y, Y), "'y' is not a name inside it, or not in its order"),
    "order": (packed(Y, file(b"x")), "'x' is not a name inside it, or not in its order"),
    "through a link": (packed(OUT, file(b"d/passwd")), "'d/passwd' is in no folder of it"),
    "no folder": (packed(file(b"d/x")), "'d/x' is in no folder of it"),
    "below a file": (packed(file(b"d"), file(b"d/x")), "'d/x' is in no folder of it"),
    "setuid": (packed(file(b"x", mode=0o4555)), "'x' has the mode 4555"),
    "writable": (packed(file(b"x", mode=0o644)), "'x' has the mode 644"),
    "hard link out": (packed((Member(b"x", members.HARD_LINK, link=b"/etc/x"), b"")), "is a link to '/etc/x', which"),
    "hard link to a link": (packed(OUT, (Member(b"x", members.HARD_LINK, link=b"d"), b"")), "is no file before it"),
    "device": (odd(b"3"), "neither a file nor a folder nor a link"),
    "pipe": (odd(b"6"), "neither a file nor a folder nor a link"),
    "pax": (odd(b"x"), "neither a file nor a folder nor a link"),
    "owner": (packed(Y).replace(b"0000444\x000000000", b"0000444\x000001750"), "has a header that no packed part has"),
    "no table": (members.header(Y[0]) + members.END, "does not begin with the table"),
    "format": (with_table(format=2), "its table has the format 2"),
    "table": (with_table(offsets=[[0, [-1]]]), "table of offsets can't be read"),
    "offset": (with_table(X, Y, offsets=[[0, [1]]]), "'x' does not name the store at 1"),
    "offset far away": (with_table(X, Y, offsets=[[0, [1 << 70]]]), "'x' does not name the store at"),
    "offsets twice": (with_table(AT, Y, offsets=[[0, [0, 0]]]), "'x' does not name the store at 0"),
    "deep table": (packed(table=b"[" * 100000), "table of offsets can't be read"),
    "size below nothing": (packed((Member(b"x", members.FILE, 0o444, -512), b"")), "it is no archive of ours"),
    "offset of none": (with_table(X, Y, offsets=[[7, [1]]]), "holds other things"),
    "offset of a folder": (with_table(FOLDER, Y, offsets=[[0, [1]]]), "is no file and has offsets"),
    "hash of none": (with_table(X, Y, hashed=[[4, 5]]), "names what it has not"),
    "hash of a folder": (with_table(FOLDER, X, hashed=[[0, 1]]), "names what is no file"),
    "hash of a text": (with_table(X, Y, hashed=[[0, 1]]), "no place for a hash"),
    "cut": (packed(X, end=b""), "ends too early"),
    "no end": (packed(end=members.END[:512]), "ends too early"),
    "more": (packed() + b"more", "holds other things than was said"),
    "text": (b"hello" * 200, "neither a file nor a folder nor a link"),
    "nothing": (b"", "ends too early"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_an_archive_that_nobody_of_ours_packed_is_refused(tmp_path: Path, kind: str) -> None:
    data, reason = REFUSED[kind]
    folder = tmp_path / "root" / "part"
    folder.mkdir(parents=True)
    size = 3 if b"abc" in data else len(prefix.ANY_ROOT) if prefix.ANY_ROOT in data else 0
    with pytest.raises(unpacking.UnpackedError) as error:
        unpacking.unpack(io.BytesIO(zstd.compress(data)), folder, folder.parent, size, 2, {})
    assert reason in error.value.what
    assert {path.name for path in tmp_path.iterdir()} == {"root"} and not any((tmp_path / "root").glob("[!p]*"))


@pytest.mark.parametrize(("size", "count"), [(2, 1), (4, 1), (3, 0), (3, 2)])
def test_more_or_less_than_was_signed_is_refused(tmp_path: Path, size: int, count: int) -> None:
    with pytest.raises(unpacking.UnpackedError, match=r"holds (more|other things) than was said"):
        unpacking.unpack(io.BytesIO(zstd.compress(packed(file(b"x", b"abc")))), tmp_path, tmp_path, size, count, {})


def test_a_bomb_is_refused_before_it_is_written(tmp_path: Path) -> None:
    big = Member(b"zeros", members.FILE, 0o444, 1 << 30)
    data = packed(end=b"") + members.header(big) + bytes(64 << 20)
    with pytest.raises(unpacking.UnpackedError, match="holds more than was said"):
        unpacking.unpack(io.BytesIO(zstd.compress(data)), tmp_path, tmp_path, 1000, 1, {})
    assert list(tmp_path.iterdir()) == []


@given(st.binary(max_size=3000))
def test_any_bytes_are_no_archive(data: bytes) -> None:
    for stream in (data, zstd.compress(data)):
        with pytest.raises(AllotmentError):
            unpacking.unpack(io.BytesIO(stream), Path("/nonexistent"), Path("/nonexistent"), 0, 0, {})


def test_what_changes_while_it_is_packed_is_an_error(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    path = part.write("growing", b"abc")
    monkeypatch.setattr(prefix, "hidden", lambda found, root: path.write_bytes(b"longer") and "")
    with pytest.raises(AllotmentError, match="growing has changed while it was packed"):
        part.pack()


def test_a_socket_is_not_packed(part: Part) -> None:
    os.mkfifo(part.folder / "pipe")
    with pytest.raises(AllotmentError, match="neither a file nor a folder nor a link"):
        part.pack()


def test_the_hash_of_a_source_is_pythons(part: Part) -> None:
    head = importlib.util.MAGIC_NUMBER + bytes(12)
    assert pack.source_hash(head, b"x = 1\n") == importlib.util.source_hash(b"x = 1\n")
