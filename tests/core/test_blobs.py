# SPDX-License-Identifier: Apache-2.0
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError

DATA = b"some bytes"
NAME = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def _files(store: BlobStore) -> list[str]:
    return sorted(path.name for path in store.folder.rglob("*") if path.is_file())


def test_blob_is_named_by_its_hash(store: BlobStore, tmp_path: Path) -> None:
    assert NAME not in store
    assert store.write([DATA[:4], DATA[4:]]) == NAME
    assert NAME in store
    assert store.read(NAME) == DATA
    assert store.path(NAME) == store.folder / NAME[:2] / NAME
    store.copy(NAME, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == DATA


def test_file_is_added_and_added_again(store: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(DATA)
    assert store.add(tmp_path / "file", NAME) == store.add(tmp_path / "file") == NAME
    assert _files(store) == [NAME]


def test_other_bytes_than_expected_are_refused(store: BlobStore) -> None:
    with pytest.raises(AllotmentError) as caught:
        store.write([b"other"], NAME)
    found = hashlib.sha256(b"other").hexdigest()
    assert str(caught.value) == (
        f"the sha256 should be {NAME} but is {found}. Correct the checksum if the new bytes are what you want,"
        " else look for who changed them."
    )
    assert _files(store) == []


def test_too_many_bytes_are_refused_before_they_are_all_read(store: BlobStore) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 1000

    with pytest.raises(AllotmentError) as caught:
        store.write(endless(), limit=5000)
    assert str(caught.value) == "a blob is larger than 5000 bytes. Send a smaller one."
    assert _files(store) == []


def test_source_that_fails_leaves_nothing(store: BlobStore) -> None:
    def failing() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        store.write(failing())
    assert _files(store) == []


def test_missing_blob_is_an_error(store: BlobStore) -> None:
    with pytest.raises(AllotmentError) as caught:
        store.read(NAME)
    assert str(caught.value) == f"blob {NAME} is not in {store.folder}. Upload it first."


def test_damaged_blob_is_removed_and_reported(store: BlobStore, tmp_path: Path) -> None:
    store.write([DATA])
    store.path(NAME).chmod(0o600)
    store.path(NAME).write_bytes(b"flipped")
    with pytest.raises(AllotmentError) as caught:
        store.copy(NAME, tmp_path / "copy")
    assert str(caught.value) == f"blob {NAME} in {store.folder} was damaged and has been removed. Fetch it again."
    assert NAME not in store
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("name", ["", "x", "../../etc/passwd", NAME.upper(), NAME + "\n", NAME[:-1], "0" * 63 + "g"])
def test_what_is_no_hash_is_refused(store: BlobStore, name: str) -> None:
    with pytest.raises(AllotmentError) as caught:
        store.path(name)
    assert str(caught.value) == f"{name!r} is not a sha256. Give 64 hexadecimal digits."


def test_what_a_killed_writer_has_left_goes_after_a_day(store: BlobStore) -> None:
    store.write([DATA])
    young, old = store.folder / ".new-young", store.folder / ".new-old"
    for path in (young, old):
        path.touch()
    os.utime(old, (0, 0))
    store.write([b"other"])
    assert young.exists()
    assert not old.exists()
