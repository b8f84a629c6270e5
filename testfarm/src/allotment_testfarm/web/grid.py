# SPDX-License-Identifier: Apache-2.0
"""Many releases x many revisions: a row a release, a column a revision, the newest first; then the past as a strip.

A commit that breaks several releases is a red column, and a release that stays broken a red row.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

from markupsafe import Markup, escape

from allotment_testfarm.db.matrix import GREEN, NONE, OPEN, OTHER, RED, Key, Mark, ReleaseStatus
from allotment_testfarm.db.revisions import Revision
from allotment_testfarm.verdicts import Colour
from allotment_testfarm.web import names
from allotment_testfarm.web.look import Look, day, look

NEW_FAILURE = "new-failure"
_CLASSES = {GREEN: "good", RED: "bad", OTHER: "off", OPEN: "busy"}
_NO_VERDICT = Look("○", "no verdict yet", "wait")


@dataclass(frozen=True)
class Day:
    """So many columns of revisions that were made on the same day."""

    name: str
    columns: int


@dataclass(frozen=True)
class Column:
    """A revision's column."""

    revision: Revision
    broke: int  # releases that were green before it


@dataclass(frozen=True)
class Row:
    """A release's row; ``cells`` and ``past`` are HTML, made here because a template takes thrice as long."""

    name: str
    href: str
    look: Look
    since: float | None  # UTC epoch at which the farm saw the commit since which it is red
    cells: Markup
    past: Markup
    past_words: str


@dataclass(frozen=True)
class Group:
    """The rows of one kind of jobs; the usual kind has no title."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Past:
    """What the strips show; times are UTC epochs."""

    revisions: int
    position: int  # of the newest
    newest: float
    oldest: float


@dataclass(frozen=True)
class Grid:
    """The whole table."""

    days: tuple[Day, ...]
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]
    past: Past | None  # None when there is none


def grid(
    project: str,
    window: Sequence[Revision],
    marks: Mapping[Key, Mapping[int, Mark]],
    strips: Mapping[Key, str],
    statuses: Iterable[ReleaseStatus],
    past: Past | None,
) -> Grid:
    """Arrange what was read; ``strips`` go on where ``window`` ends."""
    known = {item.key: item for item in statuses}
    called = names.within_kind(known.keys() | marks.keys())
    positions = [revision.position for revision in window]
    nothing = NONE * (past.revisions if past else 0)
    groups = []
    for kind in sorted({key[1] for key in called}, key=lambda kind: (kind != names.USUAL_KIND, kind)):
        keys = sorted((key for key in called if key[1] == kind), key=lambda key: _order(key, known.get(key)))
        rows = tuple(
            _row(project, key, called[key], known.get(key), positions, marks.get(key, {}), strips.get(key, nothing))
            for key in keys
        )
        groups.append(Group("" if kind == names.USUAL_KIND else names.spoken(kind).capitalize(), rows))
    days = tuple(Day(name, len(list(group))) for name, group in groupby(day(item.time) for item in window))
    return Grid(days, _columns(window, marks), tuple(groups), past)


def strip(letters: str) -> Markup:
    """Draw a strip: a path for each colour, a unit for each revision."""
    paths: dict[str, list[str]] = {}
    place = 0
    for letter, run in groupby(letters):
        length = len(list(run))
        if letter != NONE:
            paths.setdefault(letter, []).append(f"M{place} 0h{length}v1h-{length}z")
        place += length
    drawn = "".join(f'<path class="{_CLASSES[letter]}" d="{"".join(parts)}"/>' for letter, parts in paths.items())
    head = f'<svg viewBox="0 0 {place} 1" preserveAspectRatio="none" aria-hidden="true">'
    return Markup(f"{head}{drawn}</svg>")  # made of numbers and our own words


def _order(key: Key, status: ReleaseStatus | None) -> tuple[bool, float, Key]:
    """Red ones first, what broke last at the top; then by name."""
    is_red = _is_red(status)
    since = status.since if status is not None and is_red else None
    return not is_red, -(since or 0.0), key


def _is_red(status: ReleaseStatus | None) -> bool:
    return status is not None and status.verdict is not None and status.verdict.colour is Colour.RED


def _row(
    project: str,
    key: Key,
    name: str,
    status: ReleaseStatus | None,
    positions: Sequence[int],
    marks: Mapping[int, Mark],
    letters: str,
) -> Row:
    verdict = status.verdict if status else None
    shown = _NO_VERDICT if verdict is None else look(verdict.name, verdict.colour)
    red = letters.count(RED)
    return Row(
        name=name,
        href=names.release_href(project, key),
        look=shown,
        since=status.since if status and _is_red(status) else None,
        cells=_cells(positions, marks),
        past=strip(letters),
        past_words=f"{name}, older revisions: red at {red} of {len(letters) - letters.count(NONE)}",
    )


def _cells(positions: Sequence[int], marks: Mapping[int, Mark]) -> Markup:
    made = []
    for position in positions:
        if (mark := marks.get(position)) is None:
            made.append("<td></td>")
        else:
            opening, closing = _around(mark.word, mark.colour)
            made.append(f"{opening}{mark.job}{closing}")
    return Markup("".join(made))  # the parts are escaped


@lru_cache(maxsize=256)
def _around(word: str, colour: str | None) -> tuple[str, str]:
    """Return what stands before and after a job's number; who sees the cell gets its glyph, who hears it its word."""
    shown = look(word, colour or "grey")
    return (
        f'<td class="{shown.colour}"><a aria-label="{escape(shown.word)}" href="/jobs/',
        f'">{shown.glyph}</a></td>',
    )


def _columns(window: Sequence[Revision], marks: Mapping[Key, Mapping[int, Mark]]) -> tuple[Column, ...]:
    broke: dict[int, int] = {}
    for row in marks.values():
        for position, mark in row.items():
            if mark.word == NEW_FAILURE:
                broke[position] = broke.get(position, 0) + 1
    return tuple(Column(revision, broke.get(revision.position, 0)) for revision in window)
