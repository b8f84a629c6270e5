# SPDX-License-Identifier: Apache-2.0
"""What the results page shows: releases x revisions, what came before them, and how each release is now."""

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sa

from allotment.messages.job import JobState, Outcome
from allotment_testfarm.db import revisions
from allotment_testfarm.db.jobs import verdict_of
from allotment_testfarm.db.revisions import Revision
from allotment_testfarm.db.schema import jobs
from allotment_testfarm.db.schema import revisions as revisions_table
from allotment_testfarm.verdicts import Colour, Verdict

RECENT = 200  # revisions: what has had no job in them is gone
Key = tuple[str, str, str]  # release, kind, platform
NONE, GREEN, RED, OTHER, OPEN = ".grow"  # of a strip: no job; its colour; neither; not done yet


@dataclass(frozen=True)
class Cell:
    """One job, as small as a table wants it."""

    job: int
    state: JobState
    outcome: Outcome | None
    verdict: Verdict | None
    seconds: float | None
    proved_by: int | None = None  # job with the same inputs, in whose place this one was not run


@dataclass(frozen=True)
class Row:
    """One release in one mode on one platform: a cell, or None, for each revision of the matrix."""

    release: str
    kind: str
    platform: str
    cells: tuple[Cell | None, ...]

    @property
    def key(self) -> Key:
        """What says which one it is."""
        return self.release, self.kind, self.platform


class Mark(NamedTuple):
    """A job as a mark: ``word`` is its verdict's name, else its outcome, else its state while it is not done."""

    job: int
    word: str
    colour: str | None  # its verdict's


@dataclass(frozen=True)
class Matrix:
    """A window of revisions, newest first, and the releases that have jobs in it, by name."""

    revisions: tuple[Revision, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class ReleaseStatus:
    """How a release of the newest revision is: its last green or red verdict."""

    release: str
    kind: str
    platform: str
    job: int | None  # that gave the verdict; None when none has yet
    verdict: Verdict | None
    since: float | None  # time at which the farm saw the commit since which it has this colour

    @property
    def key(self) -> Key:
        """What says which one it is."""
        return self.release, self.kind, self.platform


# Not all columns, read by place, words made objects once: a window is thousands of rows, and this is thrice as fast.
_COLUMNS = (
    jobs.c.release,
    jobs.c.kind,
    jobs.c.platform,
    jobs.c.position,
    jobs.c.id,
    jobs.c.state,
    jobs.c.outcome,
    jobs.c.started,
    jobs.c.ended,
    jobs.c.proved_by,
    jobs.c.verdict,
    jobs.c.colour,
    jobs.c.verdict_detail,
    jobs.c.verdict_since,
)
_STATES = {state.value: state for state in JobState}
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}


def matrix(connection: sa.Connection, project: int, limit: int = 30, before: int | None = None) -> Matrix:
    """Return the newest ``limit`` revisions (before the position ``before``) and their jobs; two queries."""
    window = revisions.page(connection, project, limit, before)
    if not window:
        return Matrix((), ())
    columns = {revision.position: index for index, revision in enumerate(window)}
    rows_found = connection.execute(
        sa.select(*_COLUMNS).where(_within(project, window[-1].position, window[0].position))
    )
    rows: dict[Key, list[Cell | None]] = defaultdict(lambda: [None] * len(window))
    for release, kind, platform, position, job, state, outcome, started, ended, by, *verdict in rows_found:
        seconds = None if started is None or ended is None else ended - started
        result = None if outcome is None else _OUTCOMES[outcome]
        cell = Cell(job, _STATES[state], result, _verdict(*verdict), seconds, by)
        rows[release, kind, platform][columns[position]] = cell
    return Matrix(window, tuple(Row(*key, tuple(cells)) for key, cells in sorted(rows.items())))


def marks(connection: sa.Connection, project: int, newest: int, oldest: int) -> dict[Key, dict[int, Mark]]:
    """Return for each release that has jobs at these positions their marks, by position."""
    word = sa.case(
        (jobs.c.state == JobState.DONE, sa.func.coalesce(jobs.c.verdict, jobs.c.outcome, Outcome.CANCELLED)),
        else_=jobs.c.state,
    )
    key = (jobs.c.release, jobs.c.kind, jobs.c.platform)
    query = sa.select(*key, jobs.c.position, jobs.c.id, word, jobs.c.colour).where(_within(project, oldest, newest))
    found: dict[Key, dict[int, Mark]] = defaultdict(dict)
    for release, kind, platform, position, *mark in connection.execute(query):
        found[release, kind, platform][position] = Mark(*mark)
    return found


def strips(connection: sa.Connection, project: int, newest: int, length: int) -> dict[Key, str]:
    """Return for each release a character for each of ``length`` positions from ``newest`` down to the past.

    The database joins a release's jobs to one text, because thousands of rows would cost more than all the rest.
    """
    letter = sa.case(
        (jobs.c.colour == Colour.GREEN, GREEN),
        (jobs.c.colour == Colour.RED, RED),
        (jobs.c.state == JobState.DONE, OTHER),
        else_=OPEN,
    )
    places = sa.func.aggregate_strings(sa.cast(jobs.c.position, sa.String) + letter, ",")
    key = (jobs.c.release, jobs.c.kind, jobs.c.platform)
    query = sa.select(*key, places).where(_within(project, newest - length + 1, newest)).group_by(*key)
    found = {}
    for release, kind, platform, text in connection.execute(query):
        strip = [NONE] * length
        for place in text.split(","):
            strip[newest - int(place[:-1])] = place[-1]
        found[release, kind, platform] = "".join(strip)
    return found


def status(connection: sa.Connection, project: int) -> tuple[ReleaseStatus, ...]:
    """Return how each release is, by name: those of the newest revision, for each kind of jobs the newest with one."""
    own = revisions_table.c.project_id == project
    newest = connection.execute(sa.select(sa.func.max(revisions_table.c.position)).where(own)).scalar() or 0
    found = connection.execute(
        sa.select(jobs.c.kind, sa.func.max(jobs.c.revision_id))
        .where(_within(project, newest - RECENT + 1, newest))
        .group_by(jobs.c.kind)
    )
    newest_jobs = [sa.and_(jobs.c.kind == kind, jobs.c.revision_id == revision) for kind, revision in found]
    if not newest_jobs:
        return ()
    present = connection.execute(_with_last_judged(project, sa.or_(*newest_jobs)))
    statuses = (
        ReleaseStatus(row.release, row.kind, row.platform, row.id, verdict_of(row), row.seen) for row in present
    )
    return tuple(sorted(statuses, key=lambda item: item.key))


def _within(project: int, oldest: int, newest: int) -> sa.ColumnElement[bool]:
    """Jobs of the revisions at these positions, found by the index that begins with the revision."""
    window = sa.select(revisions_table.c.id).where(
        revisions_table.c.project_id == project, revisions_table.c.position.between(oldest, newest)
    )
    return jobs.c.revision_id.in_(window)


def _with_last_judged(project: int, present: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Return a query of the newest green or red job of the release of each job that is ``present``, if it has one."""
    other, last = jobs.alias(), jobs.alias()
    newest = (
        sa.select(other.c.id)
        .where(
            other.c.project_id == project,
            *(other.c[name] == jobs.c[name] for name in ("release", "kind", "platform")),
            other.c.colour.in_([Colour.GREEN, Colour.RED]),
        )
        .order_by(other.c.position.desc())
        .limit(1)
        .scalar_subquery()
    )
    columns = (last.c[name] for name in ("id", "verdict", "colour", "verdict_detail", "verdict_since"))
    key = (jobs.c.release, jobs.c.kind, jobs.c.platform)
    since = sa.and_(revisions_table.c.project_id == project, revisions_table.c.commit == last.c.verdict_since)
    found = jobs.outerjoin(last, last.c.id == newest).outerjoin(revisions_table, since)
    return sa.select(*key, *columns, revisions_table.c.seen).select_from(found).where(present)


@lru_cache(maxsize=4096)
def _verdict(name: str | None, colour: str, detail: str, since: str | None) -> Verdict | None:
    return None if name is None else Verdict(name, Colour(colour), detail, since or "")
