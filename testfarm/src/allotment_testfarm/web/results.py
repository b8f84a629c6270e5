# SPDX-License-Identifier: Apache-2.0
"""What the results page says: is it green, since when is it red, and the table of revisions and releases."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from allotment.messages.job import JobState
from allotment_testfarm.db import matrix, revisions
from allotment_testfarm.db.jobs import JobSummary
from allotment_testfarm.db.matrix import Matrix, ReleaseStatus
from allotment_testfarm.db.revisions import Revision
from allotment_testfarm.verdicts import Colour
from allotment_testfarm.web.look import Look, brief_duration, duration, look

Time = Callable[[float | None], str]
NOT_RUN = "="  # in place of the time of a job that another one has proved
FEW = 6  # up to so many releases have cells wide enough for words


@dataclass(frozen=True)
class Column:
    """A release's column."""

    name: str
    is_red: bool


@dataclass(frozen=True)
class CellView:
    """A job's cell; ``time`` is short enough for the column."""

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

    release: str
    job: int
    word: str
    detail: str
    since: Revision | None  # the first revision at which it was red


@dataclass(frozen=True)
class Summary:
    """The answer to the first question of who opens the page."""

    headline: str
    colour: str
    reds: tuple[Red, ...]
    activity: str  # what is going on; "" when nothing is

    @property
    def is_moving(self) -> bool:
        """Whether the page will change by itself."""
        return bool(self.activity)


@dataclass(frozen=True)
class Results:
    """The whole page; ``older`` is the position before which the next page's revisions are, None at the end."""

    summary: Summary
    columns: tuple[Column, ...]
    rows: tuple[RowView, ...]
    is_few: bool  # so few columns that their cells have room for words
    older: int | None


def results(connection: sa.Connection, project: int, limit: int, before: int | None) -> Results:
    """Read and arrange the results of a project."""
    table = matrix.matrix(connection, project, limit + 1, before)  # one more says whether there are older ones
    statuses = matrix.status(connection, project)
    reds = {_key(item) for item in statuses if _is(item, Colour.RED)}
    names = column_names([_key(row) for row in table.rows])
    columns = tuple(Column(names[_key(row)], _key(row) in reds) for row in table.rows)
    shown = table.revisions[:limit]
    is_few = len(columns) <= FEW
    rows = _rows(table, shown, duration if is_few else brief_duration)
    has_older = len(table.revisions) > limit
    summary = _summary(connection, project, statuses, "" if before is not None else _activity(table))
    return Results(summary, columns, rows, is_few, shown[-1].position if has_older else None)


def column_names(keys: Iterable[tuple[str, str, str]]) -> dict[tuple[str, str, str], str]:
    """Name each (release, kind, platform): by the release alone, with the others where that is not enough."""
    keys = list(keys)
    count = Counter(release for release, _, _ in keys)
    return {key: key[0] if count[key[0]] == 1 else " ".join(key) for key in keys}


def job_look(job: JobSummary | matrix.Cell) -> Look:
    """Return how a job is shown: its verdict once it has one, else its outcome, else its state."""
    if job.state is not JobState.DONE:
        return look(job.state)
    if job.verdict is not None:
        return look(job.verdict.name, job.verdict.colour)
    return look(job.outcome or "cancelled")


def _rows(table: Matrix, shown: tuple[Revision, ...], time: Time) -> tuple[RowView, ...]:
    looks = [[None if cell is None else _cell(cell, time(cell.seconds)) for cell in row.cells] for row in table.rows]
    return tuple(RowView(revision, tuple(cells[index] for cells in looks)) for index, revision in enumerate(shown))


def _cell(cell: matrix.Cell, time: str) -> CellView:
    shown = job_look(cell)
    text = NOT_RUN if cell.proved_by is not None else "" if cell.seconds is None else time
    return CellView(cell.job, shown.glyph, shown.word, shown.colour, text, cell.proved_by)


def _activity(table: Matrix) -> str:
    """Say how many of the window's jobs run and wait."""
    states = Counter(cell.state for row in table.rows for cell in row.cells if cell is not None)
    parts = []
    if running := states[JobState.LEASED]:
        parts.append(f"{running} job{'' if running == 1 else 's'} running")
    if waiting := states[JobState.WAITING]:
        parts.append(f"{waiting} waiting for a test node")
    return ", ".join(parts)


def _summary(connection: sa.Connection, project: int, statuses: tuple[ReleaseStatus, ...], activity: str) -> Summary:
    reds = tuple(_red(connection, project, item) for item in statuses if _is(item, Colour.RED))
    green = sum(_is(item, Colour.GREEN) for item in statuses)
    total = len(statuses)
    if not total:
        return Summary("Nothing has been tested yet", "off", (), activity)
    if reds and total == 1:
        return Summary(f"{reds[0].release} is red", "bad", reds, activity)
    if reds:
        return Summary(f"{len(reds)} of {total} releases {_are(len(reds))} red", "bad", reds, activity)
    if green == total:
        name = statuses[0].release if total == 1 else f"All {total} releases"
        return Summary(f"{name} {_are(total)} green", "good", (), activity)
    if total == 1:
        return Summary(f"{statuses[0].release} has no verdict yet", "wait", (), activity)
    return Summary(
        f"{green} of {total} releases {_are(green)} green, the rest have no verdict yet", "wait", (), activity
    )


def _red(connection: sa.Connection, project: int, item: ReleaseStatus) -> Red:
    assert item.job is not None and item.verdict is not None  # a red one has both
    since = revisions.get(connection, project, item.verdict.since)
    return Red(item.release, item.job, look(item.verdict.name, "red").word, item.verdict.detail, since)


def _key(item: matrix.Row | ReleaseStatus) -> tuple[str, str, str]:
    return item.release, item.kind, item.platform


def _is(item: ReleaseStatus, colour: Colour) -> bool:
    return item.verdict is not None and item.verdict.colour is colour


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
