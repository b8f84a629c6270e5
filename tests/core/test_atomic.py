# SPDX-License-Identifier: Apache-2.0
import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from allotment.atomic import read_limited, write_bytes
from allotment.errors import AllotmentError


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_file_has_exactly_the_mode_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        assert write_bytes(tmp_path / "file", b"data", 0o664)
    finally:
        os.umask(before)
    assert (_mode(tmp_path / "file"), (tmp_path / "file").read_bytes()) == (0o664, b"data")


def test_same_content_and_mode_write_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"data", 0o600)
    inode = path.stat().st_ino
    assert not write_bytes(path, b"data", 0o600)
    assert path.stat().st_ino == inode
    assert write_bytes(path, b"data", 0o640)
    assert _mode(path) == 0o640


def test_link_is_replaced_and_its_target_untouched(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"data")
    (tmp_path / "link").symlink_to("target")
    assert write_bytes(tmp_path / "link", b"data", sync=False)
    assert not (tmp_path / "link").is_symlink()
    assert write_bytes(tmp_path / "link", b"new", sync=False)
    assert (tmp_path / "target").read_bytes() == b"data"


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_regular_file_is_replaced_unread(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    assert write_bytes(path, b"data")
    assert path.read_bytes() == b"data"
    assert stat.S_ISREG(path.lstat().st_mode)


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "folder/below").mkdir(parents=True)
    with pytest.raises(OSError, match="folder"):
        write_bytes(tmp_path / "folder", b"data")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    with pytest.raises(FileNotFoundError):
        write_bytes(tmp_path / "nowhere/file", b"data")


def test_readers_see_whole_files_only(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = {bytes([65 + number]) * 50_000 for number in range(8)}
    write_bytes(path, min(contents), sync=False)
    writers = [threading.Thread(target=lambda data=data: write_bytes(path, data, sync=False)) for data in contents]
    for writer in writers:
        writer.start()
    seen = {path.read_bytes() for _ in range(200)}
    for writer in writers:
        writer.join(10)
    assert seen <= contents
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_limited_read_returns_bytes_or_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_limited(tmp_path / "file", 5) == b"12345"
    assert read_limited(tmp_path / "nothing", 5) is None


def test_larger_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"123456")
    with pytest.raises(AllotmentError) as caught:
        read_limited(tmp_path / "file", 5)
    assert str(caught.value) == f"{tmp_path}/file is larger than 5 bytes. Make it smaller."


def test_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "file").symlink_to("secret")
    with pytest.raises(AllotmentError, match=r"can't be read: .*\. It must be a regular file\.$"):
        read_limited(tmp_path / "file", 5)


@pytest.mark.parametrize("kind", ["folder", "fifo", "device"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path = Path("/dev/zero")
    with pytest.raises(AllotmentError) as caught:
        read_limited(path, 5)
    assert str(caught.value) == f"{path} is not a regular file. Remove it."


def test_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("file")
        with pytest.raises(AllotmentError, match="can't be read"):
            read_limited(Path("file"), 5)
