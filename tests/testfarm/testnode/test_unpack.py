# SPDX-License-Identifier: Apache-2.0
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from allotment_testfarm.testnode.unpack import HostileArchiveError, unpack


def tar(*members: tuple[str, Any]) -> io.BytesIO:
    """Make a tar of (name, content) or (name, {attributes of TarInfo})."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            data = content if isinstance(content, bytes) else b""
            member.size = len(data)
            if isinstance(content, dict):
                for key, value in content.items():
                    setattr(member, key, value)
            archive.addfile(member, io.BytesIO(data))
    buffer.seek(0)
    return buffer


def link(target: str, kind: bytes = tarfile.SYMTYPE) -> dict[str, Any]:
    return {"type": kind, "linkname": target}


def test_files_folders_and_inner_links_arrive(tmp_path: Path) -> None:
    members = tar(("a", {"type": tarfile.DIRTYPE}), ("a/b/c.txt", b"text"), ("a/up", link("b/c.txt")))
    unpack(members, tmp_path / "out")
    assert (tmp_path / "out/a/b/c.txt").read_bytes() == b"text"
    assert (tmp_path / "out/a/up").read_bytes() == b"text"


def test_only_the_executable_bit_is_kept(tmp_path: Path) -> None:
    unpack(tar(("run", {"mode": 0o6777}), ("read", {"mode": 0o4644})), tmp_path / "out")
    modes = [(tmp_path / "out" / name).stat().st_mode & 0o7777 for name in ("run", "read")]
    assert modes == [0o755, 0o644]


@pytest.mark.parametrize(
    ("members", "name", "why"),
    [
        ([("/etc/x", b"")], "/etc/x", "leaves the folder"),
        ([("../x", b"")], "../x", "leaves the folder"),
        ([("a/../../x", b"")], "a/../../x", "leaves the folder"),
        ([("a", link("/etc"))], "a", "links to '/etc', outside of the folder"),
        ([("a/b", link("../../etc"))], "a/b", "links to '../../etc', outside of the folder"),
        ([("a", link("b")), ("a/x", b"")], "a/x", "passes through a link or a file"),
        ([("a", b""), ("a/x", b"")], "a/x", "passes through a link or a file"),
        ([("a", link("b")), ("a", b"")], "a", "replaces a link"),
        ([("a", b""), ("a", b"")], "a", "is there twice"),
        ([("a", b""), ("b", link("a", tarfile.LNKTYPE))], "b", "is neither a file, a folder nor a symbolic link"),
        ([("a", {"type": tarfile.CHRTYPE})], "a", "is neither a file, a folder nor a symbolic link"),
        ([("a", {"type": tarfile.FIFOTYPE})], "a", "is neither a file, a folder nor a symbolic link"),
    ],
)
def test_hostile_member_is_refused_by_name(tmp_path: Path, members: list[Any], name: str, why: str) -> None:
    with pytest.raises(HostileArchiveError) as caught:
        unpack(tar(*members), tmp_path / "out")
    assert str(caught.value) == f"the archive of the revision is refused: '{name}' {why}. Remove it from the commit."
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_too_many_bytes_are_refused_before_they_are_written(tmp_path: Path) -> None:
    with pytest.raises(HostileArchiveError, match="holds more than 10 bytes"):
        unpack(tar(("a", b"123456"), ("b", b"123456")), tmp_path / "out", max_bytes=10)
    assert not (tmp_path / "out/b").exists()


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HostileArchiveError, match="or 3 files"):
        unpack(tar(*((str(number), b"") for number in range(4))), tmp_path / "out", max_members=3)


@pytest.mark.parametrize("data", [b"not a tar", b"\0" * 100, tar(("a", b"x" * 5000)).getvalue()[:2000]])
def test_damaged_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(HostileArchiveError, match=r"the archive of the revision is damaged: .*\. Fetch it again\."):
        unpack(io.BytesIO(data), tmp_path / "out")
