# SPDX-License-Identifier: Apache-2.0
"""Any range of bytes or lines is found, and only what holds it is unpacked."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment.errors import AllotmentError
from allotment_testfarm.logs import frames, index
from allotment_testfarm.logs.reader import Log
from allotment_testfarm.logs.store import StoredLog, index_path, packed_path


def made(path: Path, data: bytes, *, is_sealed: bool, stretch: int = 16) -> Path:
    stored = StoredLog(path, stretch)
    stored.append(memoryview(data))
    stored.pack()
    if is_sealed:
        stored.seal()
    return path


@given(st.text("ab\n", max_size=120), st.integers(1, 40), st.booleans(), st.data())
def test_ranges_and_lines_are_those_of_the_text(
    tmp_path_factory: pytest.TempPathFactory, text: str, stretch: int, is_sealed: bool, data: st.DataObject
) -> None:
    whole = text.encode()
    path = made(tmp_path_factory.mktemp("log") / "1.log", whole, is_sealed=is_sealed, stretch=stretch)
    start, end = data.draw(st.integers(0, 130)), data.draw(st.integers(0, 130))
    with Log(path) as log:
        assert (log.size, log.breaks) == (len(whole), whole.count(b"\n"))
        assert b"".join(log.blocks(start, end)) == whole[start:end]
        assert log.line_of(start) == whole[:start].count(b"\n") + 1
        lines = whole.splitlines(keepends=True)
        for number in range(len(lines) + 3):
            assert log.start_of(number) == sum(map(len, lines[: max(number - 1, 0)]))


def test_only_the_frames_that_hold_the_range_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path / "1.log", b"0123456789abcd\n\n" * 1000, is_sealed=True)
    marks = index.read(index_path(path))
    data = bytearray(packed_path(path).read_bytes())
    for begin, end in [(0, 499), (502, 1000)]:  # all but two frames are made unreadable
        data[marks[begin].place : marks[end].place] = bytes(marks[end].place - marks[begin].place)
    packed_path(path).write_bytes(data)
    with Log(path) as log:
        assert b"".join(log.blocks(500 * 16 + 3, 501 * 16 + 2)) == b"3456789abcd\n\n01"
        assert log.start_of(2 * 500 + 2) == 500 * 16 + 15
        assert log.line_of(501 * 16 + 1) == 2 * 501 + 1
        with pytest.raises(AllotmentError, match=r"1\.log\.zst is damaged at byte 0\. Bring it back from a backup"):
            list(log.blocks(0, 1))


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    with Log(tmp_path / "1.log") as log:
        assert (log.size, log.breaks, log.is_packed, list(log.blocks(0, 9))) == (0, 0, False, [])
        assert (log.start_of(1), log.start_of(7), log.line_of(0), list(log.frames())) == (0, 0, 1, [])


@pytest.mark.parametrize("is_sealed", [False, True])
def test_what_is_written_sealed_or_removed_later_does_not_change_an_open_log(tmp_path: Path, is_sealed: bool) -> None:
    data = b"one\ntwo\nthree\nfour\nfive\n"
    path = made(tmp_path / "1.log", data, is_sealed=is_sealed)
    with Log(path) as log:
        if not is_sealed:
            stored = StoredLog(path, 16)
            stored.append(memoryview(b"six\n" * 10))
            stored.seal()
        StoredLog(path).remove()
        assert (log.size, log.breaks, b"".join(log.blocks(0, 99))) == (len(data), 5, data)


def test_a_packed_log_is_given_as_it_is_on_disk(tmp_path: Path) -> None:
    path = made(tmp_path / "1.log", b"text\n" * 900, is_sealed=True)
    with Log(path) as log:
        packed = b"".join(log.frames())
        assert len(packed) == log.packed_size
    assert frames.unpack(packed) == b"text\n" * 900
