# SPDX-License-Identifier: Apache-2.0
"""Lines of a log, wherever they are and however long they are."""

import html
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment_testfarm.logs.reader import Log
from allotment_testfarm.logs.store import StoredLog
from allotment_testfarm.web import log_lines
from allotment_testfarm.web.log_lines import Place


def made(folder: Path, text: bytes, *, is_sealed: bool = True) -> Log:
    stored = StoredLog(folder / "1.log", 64 << 10)
    stored.append(memoryview(text))
    stored.pack()
    if is_sealed:
        stored.seal()
    return Log(folder / "1.log")


def texts(lines: list[log_lines.LogLine]) -> list[tuple[int, str]]:
    return [(line.number, html.unescape(str(line.html))) for line in lines]


@given(st.text("ab\n", max_size=60), st.integers(1, 30), st.integers(1, 12), st.booleans())
def test_any_lines_are_those_of_the_text(
    tmp_path_factory: pytest.TempPathFactory, text: str, first: int, number: int, is_sealed: bool
) -> None:
    every = text.removesuffix("\n").split("\n") if text else []
    with made(tmp_path_factory.mktemp("log"), text.encode(), is_sealed=is_sealed) as log:
        assert log_lines.count(log) == len(every)
        if first > len(every):
            return
        found, after = log_lines.read(log, log_lines.place_of(log, first), number, 1 << 20)
        wanted = list(enumerate(every, 1))[first - 1 : first - 1 + number]
        assert texts(found) == wanted
        is_unfinished = wanted[-1][0] == len(every) and not text.endswith("\n")
        assert after.line == wanted[-1][0] + (not is_unfinished)
        assert after.offset == len("".join(f"{line}\n" for line in every[: after.line - 1]).encode())
        assert log_lines.place_at(log, after.offset) == after
        inside = after.offset + len(wanted[-1][1]) if is_unfinished else after.offset - 1
        assert log_lines.place_at(log, inside).line == wanted[-1][0], "any byte of a line leads to its start"


def test_the_end_is_whole_lines_by_number_and_by_size(tmp_path: Path) -> None:
    with made(tmp_path, b"".join(b"line %05d\n" % number for number in range(1, 10_001))) as log:
        assert log_lines.end_of(log, 10, 1 << 20).line == 9_991
        assert log_lines.end_of(log, 5000, 1100).line == 9_901
        assert log_lines.end_of(log, 5000, 1099).line == 9_902
        assert log_lines.end_of(log, 5000, 1101).line == 9_901


@pytest.mark.parametrize("tail", [b"", b"\nshort\nand this"])
def test_one_endless_line_is_shown_in_part_and_what_follows_is_found(tmp_path: Path, tail: bytes) -> None:
    with made(tmp_path, b"first\n" + b"\x1b[32m" + b"x" * 3_000_000 + tail) as log:
        found, after = log_lines.read(log, Place(), 10, 10 << 20)
        assert [line.number for line in found] == ([1, 2, 3, 4] if tail else [1, 2])
        assert len(found[1].html) < 5000 and found[1].html.endswith("(the full text has more of this line)")
        if tail:
            assert found[2].html == '<span class="c2">short</span>'
        assert after.line == (4 if tail else 2)
        end = log_lines.end_of(log, 1000, 64 << 10)
        assert end.line == (3 if tail else 2)


def test_a_page_is_not_larger_than_it_was_allowed(tmp_path: Path) -> None:
    with made(tmp_path, (b"y" * 2000 + b"\n") * 1000) as log:
        found, after = log_lines.read(log, Place(), 1000, 100_000)
        assert 50 <= len(found) <= 100 and after.line == len(found) + 1


def test_bytes_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    with made(tmp_path, b"\xff\xfeok\n") as log:
        assert texts(log_lines.read(log, Place(), 9, 999)[0]) == [(1, "\ufffd\ufffdok")]
