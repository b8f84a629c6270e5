# SPDX-License-Identifier: Apache-2.0
"""What verdict rules need to know of a job's past, and where their verdict goes."""

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from allotment.codec import decode
from allotment.messages.job import Attempt, JobState, Outcome, Step, TestCase
from allotment_testfarm.db import attempts, events
from allotment_testfarm.db.jobs import verdict_of, verdict_of_columns
from allotment_testfarm.db.schema import attempts as attempts_table
from allotment_testfarm.db.schema import jobs, revisions
from allotment_testfarm.verdicts import Colour, Verdict


@dataclass(frozen=True)
class Case:
    """What a verdict is given on."""

    attempt: Attempt  # the job's last one; without an outcome of its own, the job's
    earlier: Verdict | None  # the last green or red one at an older revision
    current: Verdict | None  # what was said before, if anything
    revision: str
    following: int | None  # the judged job of the same release at the next newer revision that has one


_older, _newer, _before = jobs.alias("older"), jobs.alias("newer"), jobs.alias("before")
_last = attempts_table.alias("last")
_VERDICT: Final = ("verdict", "colour", "verdict_detail", "verdict_since")
_SAME: Final = ("project_id", "release", "kind", "platform")


def _neighbour(other: sa.FromClause, condition: sa.ColumnElement[bool], order: sa.ColumnElement[Any]) -> Any:
    """Select the first job of the same release that ``condition`` lets in."""
    same = (other.c[name] == jobs.c[name] for name in _SAME)
    found = sa.select(other.c.id).where(*same, condition).order_by(order).limit(1)
    return found.correlate(jobs).scalar_subquery()


_is_before = sa.and_(_older.c.position < jobs.c.position, _older.c.colour.in_([Colour.GREEN, Colour.RED]))
_follows = sa.and_(_newer.c.position > jobs.c.position, _newer.c.colour.is_not(None))
# Made once: each verdict asks it.
_CASE: Final = (
    sa.select(
        *(jobs.c[name] for name in _VERDICT),
        *(_before.c[name].label(f"before_{name}") for name in _VERDICT),
        *(jobs.c.id, jobs.c.outcome, jobs.c.created, jobs.c.ended, revisions.c.commit),
        *(_last.c.id.label("last"), _last.c.number, _last.c.node, _last.c.started, _last.c.ended.label("last_ended")),
        *(_last.c.reason, _last.c.manifest, _last.c.steps),
        _neighbour(_newer, _follows, _newer.c.position.asc()).label("following"),
    )
    .join(revisions, revisions.c.id == jobs.c.revision_id)
    .outerjoin(_before, _before.c.id == _neighbour(_older, _is_before, _older.c.position.desc()))
    .outerjoin(_last, _last.c.id == attempts.last_that_ended(jobs))
    .where(jobs.c.id == sa.bindparam("job"))
)
_JUDGE: Final = sa.update(jobs).where(jobs.c.id == sa.bindparam("job"))


def case(connection: sa.Connection, job: int, cases: tuple[TestCase, ...] | None = None) -> Case:
    """Return what there is to know about a job that is done; ``cases`` are those of its last attempt, if in hand."""
    row = connection.execute(_CASE, {"job": job}).one()
    before = verdict_of_columns(
        row.before_verdict, row.before_colour, row.before_verdict_detail, row.before_verdict_since
    )
    return Case(_attempt(connection, row, cases), before, verdict_of(row), row.commit, row.following)


def store(connection: sa.Connection, job: int, verdict: Verdict, now: float) -> None:
    """Give a job its verdict."""
    values = {
        "verdict": verdict.name,
        "colour": verdict.colour,
        "verdict_detail": verdict.detail[:2000],
        "verdict_since": verdict.since,
    }
    connection.execute(_JUDGE, {"job": job, **values})
    data = {"verdict": verdict.name, "colour": verdict.colour.value, "detail": verdict.detail[:500]}
    events.record(connection, now, "job.judged", f"job/{job}", data)


def unjudged(connection: sa.Connection) -> tuple[int, ...]:
    """Return the jobs that are done and have no verdict: cancelled ones, or the engine died in between."""
    query = sa.select(jobs.c.id).where(jobs.c.state == JobState.DONE, jobs.c.verdict.is_(None)).order_by(jobs.c.id)
    return tuple(connection.execute(query).scalars())


def _attempt(connection: sa.Connection, row: Any, cases: tuple[TestCase, ...] | None) -> Attempt:
    outcome = Outcome(row.outcome)  # of the job: a lost attempt of a cancelled job is a cancelled one
    if row.last is None:
        return Attempt(row.id, 0, "", row.created, row.ended, outcome, "cancelled before it started")
    return Attempt(
        job=row.id,
        number=row.number,
        node=row.node,
        started=row.started,
        ended=row.last_ended,
        outcome=outcome,
        reason=row.reason,
        manifest=row.manifest,
        steps=tuple(decode(Step, step) for step in row.steps),
        cases=attempts.cases_of(connection, row.last) if cases is None else cases,
    )
