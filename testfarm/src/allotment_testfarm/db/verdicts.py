# SPDX-License-Identifier: Apache-2.0
"""What verdict rules need to know of a job's past, and where their verdict goes."""

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from allotment.messages.job import Attempt, JobState, Outcome
from allotment_testfarm.db import attempts, events
from allotment_testfarm.db.jobs import verdict_of
from allotment_testfarm.db.schema import jobs, revisions
from allotment_testfarm.verdicts import Colour, Verdict


@dataclass(frozen=True)
class Case:
    """What a verdict is given on."""

    attempt: Attempt  # the job's last one; without an outcome of its own, the job's
    earlier: Verdict | None  # the last green or red one at an older revision
    current: Verdict | None  # what was said before, if anything
    revision: str


_own, _older, _newer = jobs.alias("own"), jobs.alias("older"), jobs.alias("newer")
_VERDICT: Final = ("verdict", "colour", "verdict_detail", "verdict_since")
_SAME: Final = ("project_id", "release", "kind", "platform")
# Made once: each verdict asks all of them.
_CASE: Final = (
    sa.select(
        *(jobs.c[name] for name in _VERDICT),
        *(jobs.c.id, jobs.c.outcome, jobs.c.created, jobs.c.ended, jobs.c.proved_by, revisions.c.commit),
    )
    .join(revisions, revisions.c.id == jobs.c.revision_id)
    .where(jobs.c.id == sa.bindparam("job"))
)
_JUDGE: Final = sa.update(jobs).where(jobs.c.id == sa.bindparam("job"))
_BEFORE: Final = (
    sa.select(*(_older.c[name] for name in _VERDICT))
    .join(_own, sa.and_(*(_older.c[name] == _own.c[name] for name in _SAME), _older.c.position < _own.c.position))
    .where(_own.c.id == sa.bindparam("job"), _older.c.colour.in_([Colour.GREEN, Colour.RED]))
    .order_by(_older.c.position.desc())
    .limit(1)
)
_FOLLOWING: Final = (
    sa.select(_newer.c.id)
    .join(_own, sa.and_(*(_newer.c[name] == _own.c[name] for name in _SAME), _newer.c.position > _own.c.position))
    .where(_own.c.id == sa.bindparam("job"), _newer.c.colour.is_not(None))
    .order_by(_newer.c.position)
    .limit(1)
)


def case(connection: sa.Connection, job: int) -> Case:
    """Return what there is to know about a job that is done."""
    row = connection.execute(_CASE, {"job": job}).one()
    before = connection.execute(_BEFORE, {"job": job}).one_or_none()
    return Case(_last_attempt(connection, row), verdict_of(before) if before else None, verdict_of(row), row.commit)


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


def following(connection: sa.Connection, job: int) -> int | None:
    """Return the judged job of the same release at the next newer revision that has one."""
    return connection.execute(_FOLLOWING, {"job": job}).scalar()


def _last_attempt(connection: sa.Connection, row: Any) -> Attempt:
    outcome = Outcome(row.outcome)  # of the job: a lost attempt of a cancelled job is a cancelled one
    tries = attempts.that_ended(connection, row.id, row.proved_by, outcome)
    if not tries:
        return Attempt(row.id, 0, "", row.created, row.ended, outcome, "cancelled before it started")
    last = tries[-1]
    return Attempt(
        job=row.id,
        number=last.number,
        node=last.node,
        started=last.started,
        ended=last.ended,
        outcome=outcome,
        reason=last.reason,
        manifest=last.manifest,
        steps=last.steps,
        cases=attempts.cases_of(connection, last.id),
    )
