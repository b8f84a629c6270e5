# SPDX-License-Identifier: Apache-2.0
"""A release over time: its jobs, from the newest revision back."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from allotment.messages.job import JobState, Outcome
from allotment_testfarm.db.jobs import verdict_of
from allotment_testfarm.db.matrix import Key
from allotment_testfarm.db.schema import jobs, revisions
from allotment_testfarm.verdicts import Colour, Verdict


@dataclass(frozen=True)
class PastJob:
    """A job of a release and the revision that it tested."""

    id: int
    commit: str  # full hash
    position: int
    author: str
    subject: str
    time: float  # the commit's, UTC epoch
    state: JobState
    outcome: Outcome | None
    verdict: Verdict | None
    started: float | None
    ended: float | None
    proved_by: int | None  # job with the same inputs, in whose place this one was not run

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it has not ended, and when it was not run."""
        return None if self.started is None or self.ended is None else self.ended - self.started


def kinds(connection: sa.Connection, project: int, release: str) -> tuple[Key, ...]:
    """Return all keys under which a release has jobs."""
    key = (jobs.c.release, jobs.c.kind, jobs.c.platform)
    query = sa.select(*key).where(jobs.c.project_id == project, jobs.c.release == release).distinct().order_by(*key)
    return tuple((row.release, row.kind, row.platform) for row in connection.execute(query))


def page(
    connection: sa.Connection, project: int, key: Key, limit: int = 100, before: int | None = None
) -> tuple[PastJob, ...]:
    """Return up to ``limit`` jobs of a release, of the newest revision first; ``before`` is a revision's position."""
    query = _of(project, key).order_by(jobs.c.position.desc()).limit(limit)
    if before is not None:
        query = query.where(jobs.c.position < before)
    return tuple(_past_job(row) for row in connection.execute(query))


def around(connection: sa.Connection, project: int, key: Key, position: int, each: int) -> tuple[PastJob, ...]:
    """Return the job at ``position`` with up to ``each`` of the revisions after and before it, the newest first."""
    after = _of(project, key).where(jobs.c.position > position).order_by(jobs.c.position).limit(each)
    newer = [_past_job(row) for row in connection.execute(after)]
    return (*reversed(newer), *page(connection, project, key, each + 1, position + 1))


def last_green(connection: sa.Connection, project: int, key: Key, before: int) -> PastJob | None:
    """Return the newest green job of a release at a revision before the position ``before``."""
    query = _of(project, key).where(jobs.c.position < before, jobs.c.colour == Colour.GREEN)
    row = connection.execute(query.order_by(jobs.c.position.desc()).limit(1)).one_or_none()
    return None if row is None else _past_job(row)


def _of(project: int, key: Key) -> sa.Select[Any]:
    release, kind, platform = key
    return (
        sa.select(jobs, revisions.c.commit, revisions.c.author, revisions.c.subject, revisions.c.time)
        .join(revisions, revisions.c.id == jobs.c.revision_id)
        .where(jobs.c.project_id == project, jobs.c.release == release)
        .where(jobs.c.kind == kind, jobs.c.platform == platform)
    )


def _past_job(row: Any) -> PastJob:
    return PastJob(
        id=row.id,
        commit=row.commit,
        position=row.position,
        author=row.author,
        subject=row.subject,
        time=row.time,
        state=JobState(row.state),
        outcome=None if row.outcome is None else Outcome(row.outcome),
        verdict=verdict_of(row),
        started=row.started,
        ended=row.ended,
        proved_by=row.proved_by,
    )
