# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (hostile archives and what is said of them stand side by side, as a table)
import bz2
import gzip
import io
import lzma
import re
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment_recipes.archive_limits import Rules, UnpackError
from allotment_recipes.unpack import unpack

FILE = b"content\n"
Member = tuple[str, Any]  # name, and content or {attribute of TarInfo: value}


def tar(*members: Member) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.mtime = 1_000_000_000
            data = content if isinstance(content, bytes) else b""
            info.size = len(data)
            for key, value in content.items() if isinstance(content, dict) else ():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data) if isinstance(content, bytes) else None)
    return buffer.getvalue()


def zipped(*members: tuple[str, bytes, int]) -> bytes:
    """Make a zip of (name, content, mode with the kind of file)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in members:
            info = zipfile.ZipInfo(name, (2020, 2, 2, 2, 2, 2))
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def link(goal: str, kind: bytes = tarfile.SYMTYPE) -> dict[str, Any]:
    return {"type": kind, "linkname": goal}


def run(tmp_path: Path, data: bytes, **options: Any) -> Path:
    (tmp_path / "x").write_bytes(data)
    unpack(tmp_path / "x", tmp_path / "out", **options)
    return tmp_path / "out"


TREE = (
    ("p-1", {"type": tarfile.DIRTYPE}),
    ("p-1/configure", {"mode": 0o6755, "type": tarfile.REGTYPE}),
    ("p-1/src/a.c", FILE),
)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress], ids=["tar", "gz", "bz2", "xz"])
def test_every_packing_is_known_by_its_first_bytes(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    out = run(tmp_path, pack(tar(*TREE)))
    assert (out / "src/a.c").read_bytes() == FILE
    assert stat.S_IMODE((out / "configure").stat().st_mode) == 0o755
    assert stat.S_IMODE((out / "src/a.c").stat().st_mode) == 0o644


def test_a_zip_is_unpacked_too(tmp_path: Path) -> None:
    out = run(tmp_path, zipped(("p-1/a", FILE, 0o100755), ("p-1/b", b"a", stat.S_IFLNK | 0o777), ("p-1/c/", b"", 0)))
    assert (out / "b").read_bytes() == FILE
    assert (out / "a").stat().st_mode & 0o777 == 0o755
    assert (out / "c").is_dir()


def test_the_top_folder_can_stay(tmp_path: Path) -> None:
    assert (run(tmp_path, tar(*TREE), strip_top_level=False) / "p-1/src/a.c").read_bytes() == FILE


def test_a_second_top_level_entry_keeps_the_first(tmp_path: Path) -> None:
    out = run(tmp_path, tar(*TREE, ("README", FILE)))
    assert sorted(path.name for path in out.iterdir()) == ["README", "p-1"]


def test_times_are_kept_so_that_make_does_not_generate_anew(tmp_path: Path) -> None:
    out = run(tmp_path, tar(*TREE, ("p-1/copy.c", link("p-1/src/a.c", tarfile.LNKTYPE))))
    assert {path.stat().st_mtime for path in (out / "configure", out / "src/a.c", out / "copy.c")} == {1_000_000_000.0}


def test_links_that_stay_inside_are_made(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        tar(
            *TREE,
            ("p-1/l", link("src/a.c")),
            ("p-1/src/up", link("../configure")),
            ("p-1/h", link("p-1/src/a.c", tarfile.LNKTYPE)),
        ),
    )
    assert (out / "l").read_bytes() == (out / "h").read_bytes() == FILE
    assert (out / "src/up").resolve() == out.resolve() / "configure"
    assert not (out / "h").is_symlink()


def test_unpacking_replaces_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").write_text("")
    assert not (run(tmp_path, tar(*TREE)) / "old").exists()


HOSTILE_TARS = {
    "absolute name": ([("/etc/x", FILE)], "'/etc/x' is not a relative path inside it"),
    "name that climbs": ([("p/../../x", FILE)], "'p/../../x' is not a relative path inside it"),
    "name that climbs at once": ([("../x", FILE)], "'../x' is not a relative path inside it"),
    "name with a zero": ([("p", {"pax_headers": {"path": "p/a\0b"}})], r"'p/a\x00b' is not a relative path inside it"),
    "absolute folder": ([("/etc/", {"type": tarfile.DIRTYPE})], "'/etc' is not a relative path inside it"),
    "absolute link": ([("p/a", link("/etc/passwd"))], "'p/a' is a link to '/etc/passwd', outside of it"),
    "link that climbs": ([("p/a", link("../../etc"))], "'p/a' is a link to '../../etc', outside of it"),
    "link out of the top folder": ([("p/a", link("../b"))], "'p/a' is a link that leads out of it"),
    "link out through a link": ([("p/q/r/l", link("../..")), ("p/m", link("q/r/l/../../x"))], "'p/m' is a link that leads out of it"),
    "link out by the name of the top folder": ([("home/x", link("../home/secret")), ("home/y", FILE)], "'home/x' is a link that leads out of it"),
    "link out by the name of the folder that is filled": ([("p/x", link("../../new/p/secret"))], "'p/x' is a link that leads out of it"),
    "file through a link": ([("p/a", link("b")), ("p/b/c", FILE), ("p/a/x", FILE)], "'p/a/x' passes through a link or a file"),
    "file below a file": ([("p/a", FILE), ("p/a/x", FILE)], "'p/a/x' passes through a link or a file"),
    "file over a link": ([("p/a", link("b")), ("p/a", FILE)], "'p/a' is there twice"),
    "folder over a link": ([("p/a", link("b")), ("p/a", {"type": tarfile.DIRTYPE})], "'p/a' is there twice"),
    "name that comes twice": ([("p/a", FILE), ("p/a", FILE)], "'p/a' is there twice"),
    "hard link out": ([("p/a", link("/etc/passwd", tarfile.LNKTYPE))], "'/etc/passwd' is not a relative path inside it"),
    "hard link to nothing": ([("p/a", link("p/b", tarfile.LNKTYPE))], "'p/a' is a link to 'p/b', which is no file before it"),
    "hard link to a link": ([("p/b", link("c")), ("p/a", link("p/b", tarfile.LNKTYPE))], "'p/a' is a link to 'p/b', which is no file before it"),
    "character device": ([("p/a", {"type": tarfile.CHRTYPE})], "'p/a' is a link or a device"),
    "block device": ([("p/a", {"type": tarfile.BLKTYPE})], "'p/a' is a link or a device"),
    "fifo": ([("p/a", {"type": tarfile.FIFOTYPE})], "'p/a' is a link or a device"),
    "unknown kind": ([("p/a", {"type": b"Z"})], "'p/a' is a link or a device"),
    "giant header": ([("p/a", {"type": b"x", "size": 1 << 32})], "has a header of 4294967296 bytes"),
}  # fmt: skip


def test_a_link_may_not_come_back_by_a_name_that_only_we_know(tmp_path: Path) -> None:
    with pytest.raises(UnpackError, match="'x' is a link that leads out of it"):
        run(tmp_path, tar(("x", link("../new/secret")), ("y", FILE)), strip_top_level=False)
    assert (
        (run(tmp_path, tar(("p/x", link("../p/y")), ("p/y", FILE)), strip_top_level=False) / "p/x").resolve().exists()
    )


@pytest.mark.parametrize("odd_names", [False, True])
@pytest.mark.parametrize(("members", "message"), HOSTILE_TARS.values(), ids=HOSTILE_TARS)
def test_hostile_tars_are_refused_and_nothing_stays(
    tmp_path: Path, members: list[Member], message: str, odd_names: bool
) -> None:
    with pytest.raises(UnpackError, match=re.escape(message)):
        run(tmp_path, tar(*members), rules=Rules(odd_names=odd_names))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("name", ["p/a\nb", "p/a\\b"])
def test_odd_names_are_refused_unless_the_rules_accept_them(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnpackError, match=re.escape(f"{name!r} is not a relative path inside it")):
        run(tmp_path, tar((name, FILE)))
    assert (run(tmp_path, tar((name, FILE)), rules=Rules(odd_names=True)) / Path(name).name).read_bytes() == FILE


def test_an_archive_that_git_made_arrives_whole(tmp_path: Path) -> None:
    """It begins with a header for all members, and long names have one of their own."""
    tree = tmp_path / "tree"
    names = ("run", "a/b", f"{'long/' * 30}{'n' * 120}", "unit-\\x2d.swap", "line\nbreak", "\xe4")
    for name in names:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)
    (tree / "run").chmod(0o755)
    (tree / "link").symlink_to("a/b")
    (tree / "dangling").symlink_to("a/nothing")
    git = (
        "git",
        "-C",
        str(tree),
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@example.com",
        "-c",
        "init.defaultBranch=main",
    )
    for words in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "all")):
        subprocess.run([*git, *words], check=True)
    data = subprocess.run([*git, "archive", "--format=tar", "HEAD"], capture_output=True, check=True).stdout
    assert data[156:157] == tarfile.XGLTYPE
    out = run(tmp_path, data, strip_top_level=False, rules=Rules(times=False, odd_names=True))
    assert [(out / name).read_text() for name in names] == list(names)
    assert [(out / name).stat().st_mode & 0o777 for name in names] == [0o755] + [0o644] * 5
    assert [str((out / name).readlink()) for name in ("link", "dangling")] == ["a/b", "a/nothing"]
    assert len([path for path in out.rglob("*") if not path.is_dir()]) == len(names) + 2
    assert (out / "run").stat().st_mtime > 1_700_000_000


def test_errors_call_the_archive_as_they_are_told(tmp_path: Path) -> None:
    with pytest.raises(UnpackError) as error:
        run(tmp_path, b"<html>", where="the archive of revision a1")
    assert str(error.value).startswith("the archive of revision a1 is not an archive: ")


HOSTILE_ZIPS = {
    "absolute name": (("/etc/x", FILE, 0), "'/etc/x' is not a relative path inside it"),
    "name that climbs": (("p/../../x", FILE, 0), "'p/../../x' is not a relative path inside it"),
    "backslashes": (("p\\..\\..\\x", FILE, 0), r"is not a relative path inside it"),
    "link out": (("p/a", b"/etc/passwd", stat.S_IFLNK), "'p/a' is a link to '/etc/passwd', outside of it"),
    "device": (("p/a", b"", stat.S_IFCHR), "'p/a' is a link or a device"),
}


@pytest.mark.parametrize(("member", "message"), HOSTILE_ZIPS.values(), ids=HOSTILE_ZIPS)
def test_hostile_zips_are_refused(tmp_path: Path, member: tuple[str, bytes, int], message: str) -> None:
    with pytest.raises(UnpackError, match=re.escape(message)):
        run(tmp_path, zipped(member))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_a_bomb_is_refused_before_it_is_written(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    with pytest.raises(UnpackError, match="holds more than 200000 files or 1000000 bytes"):
        run(tmp_path, pack(tar(("bomb", bytes(20_000_000)))), rules=Rules(size=1_000_000))


def test_a_zip_that_lies_of_its_sizes_is_refused(tmp_path: Path) -> None:
    data = zipped(("bomb", bytes(5_000_000), 0)).replace((5_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    with pytest.raises(UnpackError, match=r"x (is not an archive|holds more than|ends inside)"):
        run(tmp_path, data, rules=Rules(size=1_000_000))


def test_copies_by_hard_links_count_as_what_they_hold(tmp_path: Path) -> None:
    members: list[Member] = [
        ("a", bytes(400_000)),
        *((f"b{number}", link("a", tarfile.LNKTYPE)) for number in range(3)),
    ]
    with pytest.raises(UnpackError, match="or 1000000 bytes"):
        run(tmp_path, tar(*members), rules=Rules(size=1_000_000))


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnpackError, match="holds more than 2 files"):
        run(tmp_path, tar(*TREE), rules=Rules(count=2))


def test_folders_that_only_names_imply_are_counted(tmp_path: Path) -> None:
    deep = f"{'a/' * 400}f"
    with pytest.raises(UnpackError, match="holds more than 100 files"):
        run(tmp_path, tar((deep, FILE)), rules=Rules(count=100))
    assert run(tmp_path, tar((deep, FILE)), rules=Rules(count=401)).is_dir()


def test_each_hard_link_costs_the_same(tmp_path: Path) -> None:
    """Counted in calls, as seconds depend on the machine."""

    def calls(number: int) -> int:
        files = [(f"f{index}", FILE) for index in range(number)]
        links = [(f"l{index}", link(f"f{index}", tarfile.LNKTYPE)) for index in range(number)]
        data = tar(*files, *links)
        lookups = 0

        def count(frame: Any, event: str, argument: Any) -> None:
            nonlocal lookups
            lookups += frame.f_code.co_name == "__eq__" or frame.f_code.co_name == "__hash__"

        sys.setprofile(count)
        try:
            run(tmp_path, data)
        finally:
            sys.setprofile(None)
        return lookups

    assert calls(200) < 3 * calls(100)


@pytest.mark.parametrize("time", ["inf", "-inf", "nan", "1e20", "-5"])
def test_a_time_that_is_none_is_no_reason_to_refuse(tmp_path: Path, time: str) -> None:
    out = run(tmp_path, tar(("p/a", {"type": tarfile.REGTYPE, "pax_headers": {"mtime": time}}), ("p/b", FILE)))
    assert (out / "a").stat().st_mtime == 0


def test_a_zip_without_times_is_unpacked(tmp_path: Path) -> None:
    """Some tools write no date at all: zeros, and there is no month 0."""
    data = bytearray(zipped(("p/a", FILE, 0)))
    local, central = data.index(b"PK\3\4"), data.index(b"PK\1\2")
    data[local + 10 : local + 14] = data[central + 12 : central + 16] = bytes(4)
    out = run(tmp_path, bytes(data))
    assert (out / "a").stat().st_mtime == 315532800


@pytest.mark.parametrize("members", [[("p/" + "a" * 300, FILE)], [("p/a", link("b" * 5000))]], ids=["file", "link"])
def test_a_name_that_no_disk_takes_is_refused(tmp_path: Path, members: list[Member]) -> None:
    with pytest.raises(UnpackError, match=r"x holds a name that is too long for this disk\. Shorten it\."):
        run(tmp_path, tar(*members))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_sparse_file_is_refused(tmp_path: Path) -> None:
    info: dict[str, Any] = {"pax_headers": {"GNU.sparse.major": "0", "GNU.sparse.map": "0,1", "GNU.sparse.size": "9"}}
    with pytest.raises(UnpackError, match=r"is a link or a device|is not an archive"):
        run(tmp_path, tar(("sparse", info)))


@pytest.mark.parametrize(("start", "name"), [(b"\x28\xb5\x2f\xfd", "zstd"), (b"LZIP", "lzip")])
def test_a_packing_that_is_not_read_is_named(tmp_path: Path, start: bytes, name: str) -> None:
    with pytest.raises(UnpackError, match=f"is packed with {name}, which is not read. Pin a tar.gz"):
        run(tmp_path, start + b"rest")


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_a_cut_archive_is_refused(tmp_path: Path, pack: Callable[[bytes], bytes], part: float) -> None:
    whole = pack(tar(("p/a", bytes(range(256)) * 400)))
    with pytest.raises(UnpackError, match=r"x (is not an archive|ends inside)"):
        run(tmp_path, whole[: int(len(whole) * part)])
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@given(st.sampled_from([b"", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00", b"PK\x03\x04"]), st.binary(max_size=1024))
def test_any_bytes_are_unpacked_or_refused(tmp_path_factory: pytest.TempPathFactory, start: bytes, rest: bytes) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "x").write_bytes(start + rest)
    try:
        unpack(folder / "x", folder / "out")
    except UnpackError:
        assert [path.name for path in folder.iterdir()] == ["x"]
