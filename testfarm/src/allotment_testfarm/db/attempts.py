# SPDX-License-Identifier: Apache-2.0
"""Attempts: the tries at a job, their steps and test cases; a job with all of it for its page."""

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from allotment.codec import decode
from allotment.messages.job import BuiltPart, CaseOutcome, KeptPromise, Outcome, Step, TestCase
from allotment_testfarm.db import inputs, jobs, revisions
from allotment_testfarm.db.inputs import InputChanges
from allotment_testfarm.db.jobs import JobSummary
from allotment_testfarm.db.revisions import Revision
from allotment_testfarm.db.schema import attempts, projects, test_cases
from allotment_testfarm.db.schema import jobs as jobs_table


@dataclass(frozen=True)
class AttemptDetail:
    """One try at a job by one test node."""

    id: int  # also the lease's id
    job: int
    number: int  # 1 for the first
    node: str
    fencing: int
    started: float
    expires: float
    ended: float | None
    outcome: Outcome | None
    reason: str
    manifest: str | None  # sha256
    log: str  # path inside the farm's folder
    log_bytes: int  # 0 while it runs: ask the file
    steps: tuple[Step, ...] = ()
    parts: tuple[BuiltPart, ...] = ()
    promises: tuple[KeptPromise, ...] = ()
    cases: tuple[TestCase, ...] = ()


@dataclass(frozen=True)
class JobDetail:
    """A job with its revision and its attempts, the newest last."""

    job: JobSummary
    revision: Revision
    attempts: tuple[AttemptDetail, ...]
    changes: InputChanges | None = None  # of its inputs; None when there is nothing to compare
    problem: str = ""  # why its inputs can't be told


# Made once: each verdict asks them.
_OF_JOB: Final = sa.select(attempts).where(attempts.c.job_id == sa.bindparam("job")).order_by(attempts.c.number)
_CASES: Final = (
    sa.select(test_cases).where(test_cases.c.attempt_id == sa.bindparam("attempt")).order_by(test_cases.c.id)
)


def detail(connection: sa.Connection, job: int) -> JobDetail | None:
    """Return everything of one job; test cases only of its newest attempt."""
    found = jobs.get(connection, job)
    if found is None:
        return None
    project = connection.execute(sa.select(projects.c.id).where(projects.c.name == found.project)).scalar_one()
    revision = revisions.get(connection, project, found.revision)
    assert revision is not None  # a foreign key holds it
    tries = of_job(connection, job)
    if tries:
        newest = connection.execute(sa.select(attempts).where(attempts.c.id == tries[-1].id)).one()
        tries = (*tries[:-1], _attempt(newest, cases_of(connection, newest.id)))
    problem = connection.execute(sa.select(jobs_table.c.files_problem).where(jobs_table.c.id == job)).scalar_one()
    return JobDetail(found, revision, tries, inputs.changes(connection, job), problem)


def of_job(connection: sa.Connection, job: int) -> tuple[AttemptDetail, ...]:
    """Return a job's attempts, the newest last, without test cases."""
    return tuple(_attempt(row) for row in connection.execute(_OF_JOB, {"job": job}))


def last_that_ended(job: sa.FromClause) -> sa.ScalarSelect[int]:
    """Select the id of the attempt that the outcome of ``job`` rests on: its own last one, or that which proved it.

    The job that proved it may have been tried again since, and have ended otherwise.
    """
    which = sa.func.coalesce(job.c.proved_by, job.c.id)
    says_so = sa.or_(job.c.proved_by.is_(None), attempts.c.outcome == job.c.outcome)
    found = sa.select(attempts.c.id).where(attempts.c.job_id == which, says_so)
    return found.order_by(attempts.c.number.desc()).limit(1).correlate(job).scalar_subquery()


def get(connection: sa.Connection, attempt: int) -> AttemptDetail | None:
    """Return one attempt by its id, without test cases."""
    row = connection.execute(sa.select(attempts).where(attempts.c.id == attempt)).one_or_none()
    return None if row is None else _attempt(row)


def cases_of(connection: sa.Connection, attempt: int) -> tuple[TestCase, ...]:
    """Return an attempt's test cases in the order in which they ran."""
    return tuple(
        TestCase(row.suite, row.name, CaseOutcome(row.outcome), row.seconds, row.message, row.line)
        for row in connection.execute(_CASES, {"attempt": attempt})
    )


def _attempt(row: Any, cases: tuple[TestCase, ...] = ()) -> AttemptDetail:
    return AttemptDetail(
        id=row.id,
        job=row.job_id,
        number=row.number,
        node=row.node,
        fencing=row.fencing,
        started=row.started,
        expires=row.expires,
        ended=row.ended,
        outcome=None if row.outcome is None else Outcome(row.outcome),
        reason=row.reason,
        manifest=row.manifest,
        log=row.log,
        log_bytes=row.log_bytes,
        steps=tuple(decode(Step, step) for step in row.steps),
        parts=tuple(decode(BuiltPart, part) for part in row.parts),
        promises=tuple(decode(KeptPromise, promise) for promise in row.promises),
        cases=cases,
    )
