# SPDX-License-Identifier: Apache-2.0
"""What runs and what waits: the jobs that are not done, those that run in the order in which they began."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from allotment.codec import decode
from allotment.messages.job import JobState, Step
from allotment_testfarm.db import waiting
from allotment_testfarm.db.schema import attempts, jobs, projects, revisions
from allotment_testfarm.db.waiting import Why

EXPLAINED = 20  # waiting jobs of which it is told why: those behind them wait for them


@dataclass(frozen=True)
class OpenJob:
    """A job that is not done, and what it tests."""

    id: int
    project: str
    commit: str  # full hash
    subject: str  # the commit's
    release: str
    kind: str
    platform: str
    created: float


@dataclass(frozen=True)
class RunningJob:
    """A job that a test node works on."""

    job: OpenJob
    node: str
    attempt: int
    started: float  # of this attempt
    step: str  # "" before the first
    cancelled: bool


@dataclass(frozen=True)
class QueuedJob:
    """A job that waits; ``why`` of the first ones only."""

    job: OpenJob
    why: Why | None


@dataclass(frozen=True)
class Queue:
    """What runs, the first of what waits in the order in which it is given away, and how much waits in all."""

    running: tuple[RunningJob, ...]
    waiting: tuple[QueuedJob, ...]
    waits: int


_COLUMNS = (
    *(jobs.c.id, projects.c.name.label("project"), revisions.c.commit, revisions.c.subject),
    *(jobs.c.release, jobs.c.kind, jobs.c.platform, jobs.c.created),
)


def read(connection: sa.Connection, now: float, limit: int = 100) -> Queue:
    """Return the queue with at most ``limit`` waiting jobs."""
    waits = jobs.c.state == JobState.WAITING
    order = (jobs.c.priority.desc(), jobs.c.id)
    first = sa.select(jobs.c.id).where(waits).order_by(*order).limit(limit)  # before anything is joined to them
    query = _open().where(jobs.c.id.in_(first)).order_by(*order)
    found = [_job(row) for row in connection.execute(query).all()]
    queued = tuple(
        QueuedJob(job, waiting.why(connection, job.id, now) if place < EXPLAINED else None)
        for place, job in enumerate(found)
    )
    number = connection.execute(sa.select(sa.func.count()).select_from(jobs).where(waits)).scalar_one()
    return Queue(_running(connection), queued, number)


def _running(connection: sa.Connection) -> tuple[RunningJob, ...]:
    own = (attempts.c.node, attempts.c.number, attempts.c.started, attempts.c.steps, jobs.c.cancelled)
    query = (
        _open()
        .add_columns(*own)
        .join(attempts, attempts.c.job_id == jobs.c.id)
        .where(attempts.c.ended.is_(None))
        .order_by(attempts.c.id)
    )
    return tuple(
        RunningJob(_job(row), row.node, row.number, row.started, _step(row.steps), row.cancelled)
        for row in connection.execute(query)
    )


def _open() -> sa.Select[Any]:
    return (
        sa.select(*_COLUMNS)
        .join(projects, projects.c.id == jobs.c.project_id)
        .join(revisions, revisions.c.id == jobs.c.revision_id)
    )


def _job(row: Any) -> OpenJob:
    return OpenJob(*row[: len(_COLUMNS)])


def _step(steps: list[Any]) -> str:
    """Return the step that runs."""
    return next((step.name for step in (decode(Step, item) for item in reversed(steps)) if step.outcome is None), "")
