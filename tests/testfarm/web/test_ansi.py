# SPDX-License-Identifier: Apache-2.0
"""A line on a page: coloured as in a terminal, and never anything but text."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment_testfarm.web.ansi import LINE_LIMIT, PLAIN, paint, style_after

CLASS = "bold|dim|italic|underline|inverse|strike|[cg][0-8]"
TAG = re.compile(rf'</span>|<span class="(?:{CLASS})(?: (?:{CLASS}))*">')


def shown(*lines: str) -> list[str]:
    style, found = PLAIN, []
    for line in lines:
        painted, style = paint(line, style)
        found.append(str(painted))
    return found


def test_colours_become_classes_and_go_on_into_the_next_line() -> None:
    assert shown("a \x1b[31mred", "still\x1b[0m not", "\x1b[1;32mbold\x1b[22mgreen\x1b[39m.") == [
        'a <span class="c1">red</span>',
        '<span class="c1">still</span> not',
        '<span class="bold c2">bold</span><span class="c2">green</span>.',
    ]


@pytest.mark.parametrize(
    ("codes", "classes"),
    [
        ("1;2;3;4;9", "bold dim italic strike underline"),
        ("7", "inverse"),
        ("30", "c0"),
        ("90", "c8"),
        ("97", "c7"),
        ("41;33", "c3 g1"),
        ("100", "g8"),
        ("31;32;44;45", "c2 g5"),
        ("38;5;1", "c1"),
        ("38;5;9", "c1"),
        ("38;5;8", "c8"),
        ("38;5;196", "c1"),
        ("38;5;46", "c2"),
        ("38;5;226", "c3"),
        ("38;5;21", "c4"),
        ("38;5;240", "c8"),
        ("38;5;255", "c7"),
        ("38;2;250;120;10", "c1"),
        ("38;2;250;200;10", "c3"),
        ("38;2;200;30;220", "c5"),
        ("48;2;0;200;210", "g6"),
        ("38;2;90;90;95", "c8"),
        ("38;2;1;2;31;3", "c8 italic"),
    ],
)
def test_what_a_terminal_can_say_has_a_class(codes: str, classes: str) -> None:
    assert shown(f"\x1b[{codes}mx") == [f'<span class="{classes}">x</span>']


def test_what_is_switched_off_is_off() -> None:
    everything = "\x1b[1;2;3;4;7;9;31;42m"
    assert (
        shown(f"{everything}\x1b[22;23;24;27;29;39;49mx", f"{everything}\x1b[mx", f"{everything}\x1b[;mx") == ["x"] * 3
    )


def test_other_escapes_are_dropped() -> None:
    assert shown("\x1b[2K\x1b[1A\x1b]0;title\x07\x1b]8;;http://x\x1b\\link\x1b(B \x00\x08\x7f\x1b[?25lok\x1b") == [
        "linkB ok"
    ]
    assert (
        shown("\x1b[38mx", "\x1b[38;5mx", "\x1b[38;9;1mx", "\x1b[55mx")
        == ["x", '<span class="c0">x</span>'] + ['<span class="bold c0">x</span>'] * 2
    )
    assert shown(f"\x1b[{'9' * 100}mx") == ["x"]


def test_what_a_carriage_return_overwrote_is_not_shown() -> None:
    assert shown("10 %\r50 %\r100 %\r", "\r", "\x1b[31mred\rx") == ["100 %", "", '<span class="c1">x</span>']


def test_markup_is_text() -> None:
    assert shown("<b>&\"'", "\x1b[31m<i>") == ["&lt;b&gt;&amp;&#34;&#39;", '<span class="c1">&lt;i&gt;</span>']


def test_a_very_long_line_is_cut_and_its_colours_count() -> None:
    more = " … (the full text has more of this line)"
    assert shown("x" * LINE_LIMIT) == ["x" * LINE_LIMIT]
    assert shown("x" * (LINE_LIMIT + 7)) == ["x" * LINE_LIMIT + more]
    assert shown("x" * (LINE_LIMIT - 1) + "\x1b[31mred", "y") == [
        "x" * (LINE_LIMIT - 1) + more,
        '<span class="c1">y</span>',
    ]


TEXTS = st.text(alphabet=st.sampled_from('\x1b[]01234;m<>&"\r\x07\\ahK?\x9b') | st.characters())


@given(st.lists(TEXTS))
def test_nothing_but_our_own_spans_is_markup(lines: list[str]) -> None:
    for line in shown(*lines):
        rest = TAG.sub("", line)
        assert "<" not in rest and ">" not in rest and '"' not in rest
        assert line.count("<span") == line.count("</span>")


@given(TEXTS)
def test_the_next_line_begins_in_the_style_that_the_text_leads_to(text: str) -> None:
    assert paint(text)[1] == style_after(text)


@given(st.lists(st.text(alphabet="abc <&>", max_size=20), min_size=1))
def test_plain_lines_keep_their_text(lines: list[str]) -> None:
    assert [html.unescape(line) for line in shown(*lines)] == lines
