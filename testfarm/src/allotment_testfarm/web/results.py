# SPDX-License-Identifier: Apache-2.0
"""What the results page says: is it green, which commit made it red, and the table of revisions and releases."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from allotment.messages.job import JobState
from allotment.terminal import duration
from allotment_testfarm.db import matrix, revisions
from allotment_testfarm.db.history import PastJob
from allotment_testfarm.db.jobs import JobSummary
from allotment_testfarm.db.matrix import Key, Mark, ReleaseStatus
from allotment_testfarm.db.projects import Project
from allotment_testfarm.db.revisions import Revision
from allotment_testfarm.verdicts import Colour
from allotment_testfarm.web import names
from allotment_testfarm.web.grid import Grid, Past, grid
from allotment_testfarm.web.look import Look, look
from allotment_testfarm.web.strips import Strips

SPAN = 200  # revisions on the page: those that are not shown job by job are in the strips
FEW = 6  # up to so many releases have room for words


@dataclass(frozen=True)
class Column:
    """A release's column."""

    name: str
    href: str
    is_red: bool


@dataclass(frozen=True)
class CellView:
    """A job's cell; without ``time`` while it has not ended, and when it was not run."""

    job: int
    glyph: str
    word: str
    colour: str
    time: str
    proved_by: int | None  # job with the same inputs, in whose place this one was not run


@dataclass(frozen=True)
class RowView:
    """A revision's row, a cell or None for each column."""

    revision: Revision
    cells: tuple[CellView | None, ...]


@dataclass(frozen=True)
class Red:
    """A release that is red now."""

    name: str
    job: int
    word: str
    detail: str


@dataclass(frozen=True)
class Cause:
    """The releases that are red since the same revision; None when the farm does not know it."""

    since: Revision | None
    reds: tuple[Red, ...]


@dataclass(frozen=True)
class Summary:
    """The answer to the first question of who opens the page."""

    headline: str
    colour: str
    causes: tuple[Cause, ...]
    activity: str  # what is going on; "" when nothing is

    @property
    def is_moving(self) -> bool:
        """Whether the page will change by itself."""
        return bool(self.activity)


@dataclass(frozen=True)
class Listing:
    """Few releases: a row a revision, with words."""

    columns: tuple[Column, ...]
    rows: tuple[RowView, ...]


@dataclass(frozen=True)
class Results:
    """The whole page; ``older`` is the position before which the next page's revisions are, None at the end."""

    summary: Summary
    listing: Listing | None
    grid: Grid | None  # one of both
    older: int | None


def results(connection: sa.Connection, project: Project, limit: int, before: int | None, strips: Strips) -> Results:
    """Read and arrange the results of a project; ``limit`` revisions are shown job by job."""
    window = revisions.page(connection, project.id, limit + 1, before)  # one more says whether there are older ones
    shown = window[:limit]
    has_older = len(window) > limit
    statuses = matrix.status(connection, project.id)
    marks = matrix.marks(connection, project.id, shown[0].position, shown[-1].position) if shown else {}
    is_few = len(marks) <= FEW
    return Results(
        summary=_summary(connection, project.id, statuses, "" if before is not None else _activity(marks)),
        listing=_listing(connection, project, limit, before, statuses) if is_few else None,
        grid=None if is_few else _grid(connection, project, shown, marks, statuses, strips),
        older=shown[-1].position if has_older else None,
    )


def _listing(
    connection: sa.Connection, project: Project, limit: int, before: int | None, statuses: tuple[ReleaseStatus, ...]
) -> Listing:
    table = matrix.matrix(connection, project.id, limit, before)
    reds = {item.key for item in statuses if _is(item, Colour.RED)}
    called = names.whole(row.key for row in table.rows)
    columns = tuple(
        Column(called[row.key], names.release_href(project.name, row.key), row.key in reds) for row in table.rows
    )
    looks = [[None if cell is None else _cell(cell) for cell in row.cells] for row in table.rows]
    rows = (RowView(item, tuple(cells[index] for cells in looks)) for index, item in enumerate(table.revisions))
    return Listing(columns, tuple(rows))


def _grid(
    connection: sa.Connection,
    project: Project,
    shown: tuple[Revision, ...],
    marks: Mapping[Key, Mapping[int, Mark]],
    statuses: tuple[ReleaseStatus, ...],
    strips: Strips,
) -> Grid:
    newest, length = shown[-1].position - 1, min(SPAN - len(shown), shown[-1].position - 1)
    if length <= 0:
        return grid(project.name, shown, marks, {}, statuses, None)
    first, last = (
        revisions.page(connection, project.id, 1, position + 1) for position in (newest, newest - length + 1)
    )
    past = Past(length, newest, first[0].time, last[0].time)
    return grid(project.name, shown, marks, strips.read(connection, project.id, newest, length), statuses, past)


def job_look(job: JobSummary | PastJob | matrix.Cell) -> Look:
    """Return how a job is shown: its verdict once it has one, else its outcome, else its state."""
    if job.state is not JobState.DONE:
        return look(job.state)
    if job.verdict is not None:
        return look(job.verdict.name, job.verdict.colour)
    return look(job.outcome or "cancelled")


def _cell(cell: matrix.Cell) -> CellView:
    shown = job_look(cell)
    time = "" if cell.seconds is None else duration(cell.seconds)
    return CellView(cell.job, shown.glyph, shown.word, shown.colour, time, cell.proved_by)


def _activity(marks: Mapping[Key, Mapping[int, Mark]]) -> str:
    """Say how many of the window's jobs run and wait."""
    words = Counter(mark.word for row in marks.values() for mark in row.values())
    parts = []
    if running := words[JobState.LEASED]:
        parts.append(f"{running} job{'' if running == 1 else 's'} running")
    if waiting := words[JobState.WAITING]:
        parts.append(f"{waiting} waiting for a test node")
    return ", ".join(parts)


def _summary(connection: sa.Connection, project: int, statuses: tuple[ReleaseStatus, ...], activity: str) -> Summary:
    """A release is red if it is in any of its kinds, and green if it is in all."""
    reds = [item for item in statuses if _is(item, Colour.RED)]
    everything = {item.release for item in statuses}
    red = {item.release for item in reds}
    green = everything - {item.release for item in statuses if not _is(item, Colour.GREEN)}
    total = len(everything)
    only = next(iter(everything), "")
    if not total:
        return Summary("Nothing has been tested yet", "off", (), activity)
    if reds:
        headline = f"{only} is red" if total == 1 else f"{len(red)} of {total} releases {_are(len(red))} red"
        return Summary(headline, "bad", _causes(connection, project, reds), activity)
    if green == everything:
        return Summary(f"{only if total == 1 else f'All {total} releases'} {_are(total)} green", "good", (), activity)
    if total == 1:
        return Summary(f"{only} has no verdict yet", "wait", (), activity)
    return Summary(
        f"{len(green)} of {total} releases {_are(len(green))} green, the rest have no verdict yet", "wait", (), activity
    )


def _causes(connection: sa.Connection, project: int, reds: list[ReleaseStatus]) -> tuple[Cause, ...]:
    """Group what is red by the revision since which it is, the newest first."""
    called = names.whole(item.key for item in reds)
    since: dict[str, list[Red]] = {}
    for item in reds:
        assert item.job is not None and item.verdict is not None  # a red one has both
        red = Red(called[item.key], item.job, look(item.verdict.name, "red").word, item.verdict.detail)
        since.setdefault(item.verdict.since, []).append(red)
    known = revisions.of_commits(connection, project, since)
    causes = (Cause(known.get(commit), tuple(found)) for commit, found in since.items())
    return tuple(sorted(causes, key=lambda cause: -cause.since.position if cause.since else 0))


def _is(item: ReleaseStatus, colour: Colour) -> bool:
    return item.verdict is not None and item.verdict.colour is colour


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
