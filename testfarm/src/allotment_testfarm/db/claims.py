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
_LEASED: Final = sa.update(jobs).where(jobs.c.id == sa.bindparam("job"))
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
_tried = sa.select(sa.func.count()).where(attempts.c.job_id == jobs.c.id).scalar_subquery()
# A job that still waits, with all that its lease says; locks it.
_TO_CLAIM: Final = (
    sa.select(
        *(jobs.c.id, jobs.c.release, jobs.c.profile, jobs.c.kind, jobs.c.platform, jobs.c.timeout, jobs.c.options),
        *(jobs.c.fencing, jobs.c.started, jobs.c.files, revisions.c.commit, projects.c.name.label("project")),
        *(_tried.label("tried"), inputs.LAST_CONCLUSIVE.scalar_subquery().label("last_conclusive")),
    )
    .join(projects, projects.c.id == jobs.c.project_id)
    .join(revisions, revisions.c.id == jobs.c.revision_id)
    .where(jobs.c.id == sa.bindparam("job"), jobs.c.state == JobState.WAITING)
    .with_for_update(skip_locked=True, of=jobs)
)


def claim(
    connection: sa.Connection, job: WaitingJob, asker: Asker, now: float, terms: LeaseTerms, engine: str = ""
) -> Lease | Held | None:
    """Lease a job to a test node; None when it waits no longer. No job goes to two, whoever else tries."""
    if (by := _equal_that_runs(connection, job, asker.environment)) is not None:
        return Held(by)
    same = {"project_id": job.project, "release": job.release, "kind": job.kind, "platform": job.platform}
    values = {"job": job.id, **{f"last_{name}": value for name, value in same.items()}}
    row = connection.execute(_TO_CLAIM, values).one_or_none()
    if row is None:
        return None
    number, fencing = row.tried + 1, row.fencing + 1
    input_hash = inputs.whole(row.release, row.kind, row.files, asker.environment)
    # One statement: PostgreSQL would look at the foreign keys of a row that it updates again, and wait for the project.
    leased = {
        "state": JobState.LEASED,
        "fencing": fencing,
        "started": now if row.started is None else row.started,
        "environment": asker.environment or None,
        "input_hash": input_hash,
        "compared_with": row.last_conclusive,
    }
    connection.execute(_LEASED, {"job": row.id, **leased})
    attempt = {
        "job_id": row.id,
        "number": number,
        "node": asker.name,
        "engine": engine,
        "fencing": fencing,
        "started": now,
        "expires": now + terms.seconds,
        "deadline": now + row.timeout + terms.grace,
        "steps": [],
        "log": log_path(row.id, number),
    }
    lease = connection.execute(_ATTEMPT, attempt).scalar_one()
    events.record(connection, now, "job.leased", f"job/{row.id}", {"node": asker.name, "attempt": number})
    message = _message(row, input_hash)
    return Lease(lease, message, number, asker.name, fencing, now + terms.seconds, terms.seconds)


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
