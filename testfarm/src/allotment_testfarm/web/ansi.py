# SPDX-License-Identifier: Apache-2.0
"""Lines as a terminal shows them, as HTML: styles become classes, since the pages' policy forbids inline styles.

A colour is one of eight, by its hue: a page has one palette for light and one for dark, and a terminal's 256 or
millions of colours would not be readable on either.
"""

import re
from collections.abc import Iterator

from markupsafe import Markup, escape

LINE_LIMIT = 4000  # characters; a longer line is cut on a page, the full text has it all

Style = frozenset[str]  # classes
PLAIN: Style = frozenset()

_SGR = re.compile(r"\x1b\[([0-9;]*)m")
# CSI and OSC sequences, then any other escape, then control characters that a page must not carry.
_NOISE = re.compile(
    r"\x1b\[(?![0-9;]*m)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b(?!\[[0-9;]*m).?"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]"
)
_FOREGROUND = frozenset(f"c{number}" for number in range(9))
_BACKGROUND = frozenset(f"g{number}" for number in range(9))
_ON = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike", 21: "underline"}
_OFF = {22: {"bold", "dim"}, 23: {"italic"}, 24: {"underline"}, 27: {"inverse"}, 29: {"strike"}}
_OFF |= {39: {*_FOREGROUND}, 49: {*_BACKGROUND}}
_COLOURS = {
    **{base + number: (_FOREGROUND, f"c{number or dark}") for base, dark in ((30, 0), (90, 8)) for number in range(8)},
    **{base + number: (_BACKGROUND, f"g{number or dark}") for base, dark in ((40, 0), (100, 8)) for number in range(8)},
}
_EXTENDED = {38: (_FOREGROUND, "c"), 48: (_BACKGROUND, "g")}
_GREY = 8
_MORE = " … (the full text has more of this line)"
_LONGEST = 60  # characters of one sequence's numbers


def paint(text: str, style: Style = PLAIN, *, is_cut: bool = False) -> tuple[Markup, Style]:
    """Return a line as HTML, and the style in which the next one begins; ``is_cut`` when it has more than ``text``."""
    # A carriage return goes back to the line's start: what was there before is overwritten (progress bars).
    *overwritten, last = text.rstrip("\r").split("\r")
    style = style_after("".join(overwritten), style)
    visible = _NOISE.sub("", last)
    if len(visible) <= LINE_LIMIT and not is_cut:
        return _paint(visible, style)
    html, _ = _paint(_cut(visible), style)
    return html + _MORE, style_after(visible, style)


def style_after(text: str, style: Style = PLAIN) -> Style:
    """Return the style in which what follows ``text`` begins."""
    for numbers in _SGR.findall(text):
        style = _apply(numbers, style)
    return style


def _cut(visible: str) -> str:
    start, escape_, last = visible[:LINE_LIMIT].rpartition("\x1b")
    return visible[:LINE_LIMIT] if "m" in last or not escape_ else start  # no half of a sequence


def _paint(text: str, style: Style) -> tuple[Markup, Style]:
    if "\x1b" not in text:
        return _dressed(text, style), style
    html = []
    for index, piece in enumerate(_SGR.split(text)):
        if index % 2:
            style = _apply(piece, style)
        else:
            html.append(_dressed(piece, style))
    return Markup().join(html), style


def _dressed(text: str, style: Style) -> Markup:
    if not style or not text:
        return escape(text)
    return Markup('<span class="{}">{}</span>').format(" ".join(sorted(style)), text)


def _apply(codes: str, style: Style) -> Style:
    """Follow one sequence that selects how characters look; numbers that say nothing here are passed over."""
    if len(codes) > _LONGEST:
        return style
    numbers = iter([int(code or 0) for code in codes.split(";")])
    for number in numbers:
        if number == 0:
            style = PLAIN
        elif number in _ON:
            style |= {_ON[number]}
        elif number in _OFF:
            style -= _OFF[number]
        elif number in _COLOURS:
            group, name = _COLOURS[number]
            style = style - group | {name}
        elif number in _EXTENDED:
            group, letter = _EXTENDED[number]
            if (colour := _extended(numbers)) is not None:
                style = style - group | {f"{letter}{colour}"}
    return style


def _extended(numbers: Iterator[int]) -> int | None:
    """Return the nearest of the eight colours to one of 256, or to a red, green and blue."""
    match next(numbers, 0):
        case 5:
            return _of_palette(next(numbers, 0))
        case 2:
            return _of_hue(next(numbers, 0), next(numbers, 0), next(numbers, 0))
    return None


def _of_palette(number: int) -> int:
    if number < 16:
        return number % 8 or (_GREY if number else 0)
    if number < 232:
        red, rest = divmod(number - 16, 36)
        return _of_hue(*(level * 51 for level in (red, *divmod(rest, 6))))
    return _GREY if number < 244 else 7


def _of_hue(red: int, green: int, blue: int) -> int:
    most, least = max(red, green, blue), min(red, green, blue)
    if most - least < 48:
        return _GREY if most < 160 else 7
    middle = (most + least) / 2
    return (red > middle) + 2 * (green > middle) + 4 * (blue > middle)
