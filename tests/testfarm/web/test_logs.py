# SPDX-License-Identifier: Apache-2.0
"""A log on a page: its end, numbered from its start, coloured, and never anything but text."""

import html
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from allotment_testfarm.web.logs import LINE_LIMIT, colour_lines, size_of, tail

TAG = re.compile(r'</span>|<span class="(?:bold|c[1-7])(?: (?:bold|c[1-7]))*">')


def shown(*lines: str) -> list[str]:
    return [str(line) for line in colour_lines(list(lines))]


def test_colours_become_classes_and_go_on_into_the_next_line() -> None:
    assert shown("a \x1b[31mred", "still\x1b[0m not", "\x1b[1;32mbold\x1b[22mgreen\x1b[39m.") == [
        'a <span class="c1">red</span>',
        '<span class="c1">still</span> not',
        '<span class="bold c2">bold</span><span class="c2">green</span>.',
    ]


def test_other_escapes_are_dropped() -> None:
    assert shown("\x1b[2K\x1b[1A\x1b]0;title\x07\x1b]8;;http://x\x1b\\link\x1b(B \x00\x08\x7f\x1b[?25lok\x1b") == [
        "linkB ok"
    ]
    assert shown("\x1b[38;5;196mx", "\x1b[38;2;1;2;31my", "\x1b[48;5;31mz\x1b[;m") == ["x", "y", "z"]
    assert shown(f"\x1b[{'9' * 100}mx") == ["x"]


def test_what_a_carriage_return_overwrote_is_not_shown() -> None:
    assert shown("10 %\r50 %\r100 %\r", "\r") == ["100 %", ""]


def test_markup_is_text() -> None:
    assert shown("<b>&\"'", "\x1b[31m<i>") == ["&lt;b&gt;&amp;&#34;&#39;", '<span class="c1">&lt;i&gt;</span>']


def test_a_very_long_line_is_cut() -> None:
    (line,) = shown("x" * (LINE_LIMIT + 7))
    assert line == "x" * LINE_LIMIT + " … (7 more characters)"
    (line,) = shown("x" * (LINE_LIMIT - 1) + "\x1b[31mred")
    assert line == "x" * (LINE_LIMIT - 1) + " … (8 more characters)"


@given(st.lists(st.text(alphabet=st.sampled_from('\x1b[]0123;m<>&"\r\x07\\ahK?\x9b') | st.characters())))
def test_nothing_but_our_own_spans_is_markup(lines: list[str]) -> None:
    for line in colour_lines(lines):
        rest = TAG.sub("", str(line))
        assert "<" not in rest and ">" not in rest and '"' not in rest
        assert str(line).count("<span") == str(line).count("</span>")


@given(st.lists(st.text(alphabet="abc <&>", max_size=20), min_size=1))
def test_plain_lines_keep_their_text(lines: list[str]) -> None:
    assert [html.unescape(str(line)) for line in colour_lines(lines)] == lines


def test_a_small_log_is_shown_whole(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\ntwo\n\nlast, no newline")
    end = tail(log)
    assert [(line.number, str(line.html)) for line in end.lines] == [
        (1, "one"),
        (2, "two"),
        (3, ""),
        (4, "last, no newline"),
    ]
    assert (end.size, end.is_cut) == (25, False)


def test_the_end_of_a_large_log_keeps_its_line_numbers(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(1, 10_001)))
    by_bytes, by_lines = tail(log, limit=1000), tail(log, lines=10)
    for end in (by_bytes, by_lines):
        assert end.is_cut and all(line.html == f"line {line.number}" for line in end.lines)
        assert end.lines[-1].number == 10_000
    assert len(by_lines.lines) == 10


def test_one_endless_line_is_shown_in_part(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 5000)
    (line,) = tail(log, limit=100).lines
    assert (line.number, line.html) == (1, "x" * 100)


def test_bytes_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"\xff\xfeok\n")
    assert tail(log).lines[0].html == "\ufffd\ufffdok"


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert tail(tmp_path / "none").lines == ()
    assert size_of(tmp_path / "none") == 0
