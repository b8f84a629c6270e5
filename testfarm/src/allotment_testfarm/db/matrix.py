# SPDX-License-Identifier: Apache-2.0
"""What the results page shows: releases x revisions, and how each release is now."""

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache

import sqlalchemy as sa

from allotment.messages.job import JobState, Outcome
from allotment_testfarm.db import revisions
from allotment_testfarm.db.jobs import verdict_of
from allotment_testfarm.db.revisions import Revision
from allotment_testfarm.db.schema import jobs
from allotment_testfarm.verdicts import Colour, Verdict


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
    query = sa.select(*_COLUMNS).where(
        jobs.c.project_id == project, jobs.c.position.between(window[-1].position, window[0].position)
    )
    rows_found = connection.execute(query)
    rows: dict[tuple[str, str, str], list[Cell | None]] = defaultdict(lambda: [None] * len(window))
    for release, kind, platform, position, job, state, outcome, started, ended, by, *verdict in rows_found:
        seconds = None if started is None or ended is None else ended - started
        result = None if outcome is None else _OUTCOMES[outcome]
        cell = Cell(job, _STATES[state], result, _verdict(*verdict), seconds, by)
        rows[release, kind, platform][columns[position]] = cell
    return Matrix(window, tuple(Row(*key, tuple(cells)) for key, cells in sorted(rows.items())))


def status(connection: sa.Connection, project: int) -> tuple[ReleaseStatus, ...]:
    """Return how each release of the newest revision that has jobs is, by name."""
    newest = sa.select(sa.func.max(jobs.c.position)).where(jobs.c.project_id == project).scalar_subquery()
    present = connection.execute(
        sa.select(jobs.c.release, jobs.c.kind, jobs.c.platform)
        .where(jobs.c.project_id == project, jobs.c.position == newest)
        .order_by(jobs.c.release, jobs.c.kind, jobs.c.platform)
    )
    return tuple(_status(connection, project, *row) for row in present.all())


def _status(connection: sa.Connection, project: int, release: str, kind: str, platform: str) -> ReleaseStatus:
    last = connection.execute(
        sa.select(jobs)
        .where(
            jobs.c.project_id == project,
            jobs.c.release == release,
            jobs.c.kind == kind,
            jobs.c.platform == platform,
            jobs.c.colour.in_([Colour.GREEN, Colour.RED]),
        )
        .order_by(jobs.c.position.desc())
        .limit(1)
    ).one_or_none()
    if last is None:
        return ReleaseStatus(release, kind, platform, None, None, None)
    verdict = verdict_of(last)
    first = revisions.get(connection, project, last.verdict_since or "")
    return ReleaseStatus(release, kind, platform, last.id, verdict, None if first is None else first.seen)


@lru_cache(maxsize=4096)
def _verdict(name: str | None, colour: str, detail: str, since: str | None) -> Verdict | None:
    return None if name is None else Verdict(name, Colour(colour), detail, since or "")
