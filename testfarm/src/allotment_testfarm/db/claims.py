# SPDX-License-Identifier: Apache-2.0
"""Claims: a waiting job becomes one test node's lease, and an attempt begins; in a writing transaction."""

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from allotment.messages.job import Job, JobState, Lease
from allotment_testfarm.db import events, inputs
from allotment_testfarm.db.leases import LeaseTerms
from allotment_testfarm.db.nodes import Asker
from allotment_testfarm.db.schema import attempts, jobs, projects, revisions
from allotment_testfarm.db.waiting import WaitingJob


@dataclass(frozen=True)
class Held:
    """A job is not leased now: one with the same inputs runs, and may prove it."""

    by: int


# What each claim asks for is made once.
_ATTEMPT: Final = sa.insert(attempts).returning(attempts.c.id)
_key = sa.bindparam("key", type_=sa.Text)
_TAKE_TURN: Final = sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(_key, 0)))
# One with the same inputs that runs.
_EQUAL: Final = (
    sa.select(jobs.c.id)
    .where(*(jobs.c[name] == sa.bindparam(name) for name in ("project_id", "release", "kind", "platform")))
    .where(*(jobs.c[name] == sa.bindparam(name) for name in ("files", "environment")), jobs.c.state == JobState.LEASED)
    .limit(1)
)
# None of these refers to the row that is changed: SQLAlchemy leaves the tables' names out where SQLite returns columns.
_own = jobs.alias("own")
_tried = sa.select(sa.func.count()).where(attempts.c.job_id == sa.bindparam("job"))
_revision = sa.select(_own.c.revision_id).where(_own.c.id == sa.bindparam("job")).scalar_subquery()
_commit = sa.select(revisions.c.commit).where(revisions.c.id == _revision)
_project = sa.select(projects.c.name).where(projects.c.id == sa.bindparam("last_project_id"))
_waits = sa.select(jobs.c.id).where(jobs.c.id == sa.bindparam("job"), jobs.c.state == JobState.WAITING)
# Leases a job that still waits, and returns all that its lease says; one that another transaction holds is left alone.
_LEASE: Final = (
    sa.update(jobs)
    .where(jobs.c.id == _waits.correlate(None).with_for_update(skip_locked=True).scalar_subquery())
    .values(
        state=JobState.LEASED,
        fencing=jobs.c.fencing + 1,
        started=sa.func.coalesce(jobs.c.started, sa.bindparam("now")),
        environment=sa.bindparam("in_environment"),
        input_hash=sa.bindparam("hash"),
        compared_with=inputs.LAST_CONCLUSIVE.scalar_subquery(),
    )
    .returning(
        *(jobs.c.id, jobs.c.release, jobs.c.profile, jobs.c.kind, jobs.c.platform, jobs.c.timeout, jobs.c.options),
        jobs.c.fencing,
        *(query.scalar_subquery().label(name) for name, query in (("commit", _commit), ("project", _project))),
        _tried.scalar_subquery().label("tried"),
    )
)


def claim(
    connection: sa.Connection, job: WaitingJob, asker: Asker, now: float, terms: LeaseTerms, engine: str = ""
) -> Lease | Held | None:
    """Lease a job to a test node; None when it waits no longer. No job goes to two, whoever else tries."""
    if (by := _equal_that_runs(connection, job, asker.environment)) is not None:
        return Held(by)
    same = {"project_id": job.project, "release": job.release, "kind": job.kind, "platform": job.platform}
    input_hash = inputs.whole(job.release, job.kind, job.files, asker.environment)
    found = {"now": now, "in_environment": asker.environment or None, "hash": input_hash}
    values = {"job": job.id, **found, **{f"last_{name}": value for name, value in same.items()}}
    row = connection.execute(_LEASE, values).one_or_none()
    if row is None:
        return None
    number = row.tried + 1
    attempt = {
        "job_id": row.id,
        "number": number,
        "node": asker.name,
        "engine": engine,
        "fencing": row.fencing,
        "started": now,
        "expires": now + terms.seconds,
        "deadline": now + row.timeout + terms.grace,
        "steps": [],
        "log": log_path(row.id, number),
    }
    lease = connection.execute(_ATTEMPT, attempt).scalar_one()
    events.record(connection, now, "job.leased", f"job/{row.id}", {"node": asker.name, "attempt": number})
    message = _message(row, input_hash)
    return Lease(lease, message, number, asker.name, row.fencing, now + terms.seconds, terms.seconds)


def log_path(job: int, attempt: int) -> str:
    """Return the path of an attempt's log inside the farm's folder."""
    return f"logs/{job}/{attempt}.log"


def _equal_that_runs(connection: sa.Connection, job: WaitingJob, environment: str) -> int | None:
    """Return a job that runs with the same inputs as ``job`` would have."""
    if job.files is None or job.is_fresh or not environment:
        return None
    if connection.dialect.name == "postgresql":  # two that claim equal jobs at once take turns
        connection.execute(_TAKE_TURN, {"key": job.files + environment})
    same = {"project_id": job.project, "release": job.release, "kind": job.kind, "platform": job.platform}
    return connection.execute(_EQUAL, {**same, "files": job.files, "environment": environment}).scalar()


def _message(row: Any, input_hash: str | None) -> Job:
    return Job(
        id=row.id,
        project=row.project,
        revision=row.commit,
        release=row.release,
        profile=row.profile,
        kind=row.kind,
        platform=row.platform,
        timeout=row.timeout,
        input_hash=input_hash,
        options=row.options,
    )
