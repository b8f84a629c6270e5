# SPDX-License-Identifier: Apache-2.0
"""Leases: a claim starts an attempt, renewals keep it, a result or its expiry ends it. All in writing transactions."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from allotment.codec import encode
from allotment.errors import RefusedError
from allotment.messages.job import RETRIED, JobState, Lease, Outcome, Step, TestCase
from allotment_testfarm.db import events, inputs, jobs
from allotment_testfarm.db.schema import attempts, test_cases
from allotment_testfarm.db.schema import jobs as jobs_table


@dataclass(frozen=True)
class Ended:
    """An attempt that has ended, and whether its job has."""

    attempt: int
    job: int
    log: str
    outcome: Outcome
    is_done: bool  # False: the job waits for another attempt


@dataclass(frozen=True)
class LeaseTerms:
    """How long leases run and how often a job is tried."""

    seconds: float = 30.0  # a lease runs so long without a heartbeat
    attempts: int = 3  # so often is a job tried that was lost or met a test node that could not do its part
    grace: float = 60.0  # seconds that the engine's own limit allows beyond the job's timeout
    avoid: float = 15.0  # seconds for which a test node that could not do its part is passed over


class StaleLeaseError(RefusedError):
    """A lease has ended or was given away; the test node drops the job."""

    def __init__(self, lease: int, problem: str) -> None:
        super().__init__(f"lease {lease} {problem}", "Stop the job and take another lease", status=409)


def claim(
    connection: sa.Connection, node: str, platform: str, kinds: Iterable[str], now: float, terms: LeaseTerms
) -> Lease | None:
    """Lease the oldest waiting job that suits a test node; None when there is none. No job goes to two."""
    c = jobs_table.c
    row = connection.execute(
        sa.select(c.id, c.fencing, c.timeout, c.started)
        .where(
            c.state == JobState.WAITING,
            c.kind.in_(list(kinds)),
            c.platform.in_(["any", platform]),
            sa.or_(c.avoid != node, c.avoid_until <= now),
        )
        .order_by(c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).one_or_none()
    if row is None:
        return None
    count = sa.select(sa.func.count()).where(attempts.c.job_id == row.id)
    number = connection.execute(count).scalar_one() + 1
    fencing = row.fencing + 1
    started = now if row.started is None else row.started
    job = {"state": JobState.LEASED, "fencing": fencing, "started": started}
    job |= inputs.complete(connection, row.id, node)
    # One statement: PostgreSQL would look at the foreign keys of a row that it updates again, and wait for the project.
    connection.execute(sa.update(jobs_table).where(c.id == row.id).values(**job))
    values = {
        "job_id": row.id,
        "number": number,
        "node": node,
        "fencing": fencing,
        "started": now,
        "expires": now + terms.seconds,
        "deadline": now + row.timeout + terms.grace,
        "steps": [],
        "log": f"logs/{row.id}/{number}.log",
    }
    lease = connection.execute(sa.insert(attempts).values(values).returning(attempts.c.id)).scalar_one()
    events.record(connection, now, "job.leased", f"job/{row.id}", {"node": node, "attempt": number})
    message = jobs.message_of(connection, row.id)
    return Lease(lease, message, number, node, fencing, values["expires"], terms.seconds)


def give_back(connection: sa.Connection, lease: int, now: float) -> None:
    """Undo a claim that its test node has never heard of: no attempt was made."""
    row = _live(connection, lease, None)
    connection.execute(sa.delete(attempts).where(attempts.c.id == lease))
    values: dict[str, object] = {"state": JobState.WAITING}
    if row.number == 1:
        values["started"] = None
    connection.execute(sa.update(jobs_table).where(jobs_table.c.id == row.job_id).values(**values))
    events.record(connection, now, "job.given-back", f"job/{row.job_id}", {"node": row.node})


def check(connection: sa.Connection, lease: int, fencing: int) -> str:
    """Return the path of a live lease's log; a stale one is a :class:`StaleLeaseError`. Needs only ``read()``."""
    return str(_live(connection, lease, fencing, lock=False).log)


def check_or_ended(connection: sa.Connection, lease: int, fencing: int) -> str:
    """As :func:`check`, for a result that may come again: a lease that has ended with a result passes too."""
    row = connection.execute(sa.select(attempts).where(attempts.c.id == lease)).one_or_none()
    if row is not None and row.fencing == fencing and row.result is not None:
        return str(row.log)
    return check(connection, lease, fencing)


def renew(connection: sa.Connection, lease: int, fencing: int, now: float, seconds: float) -> tuple[str, float, bool]:
    """Renew a lease; return its test node, until when it now runs, and whether its job was cancelled.

    A lease whose time is over but which nobody took away yet is renewed too: the test node is there after all.
    """
    row = _live(connection, lease, fencing)
    expires = now + seconds
    connection.execute(sa.update(attempts).where(attempts.c.id == lease).values(expires=expires))
    cancelled = connection.execute(sa.select(jobs_table.c.cancelled).where(jobs_table.c.id == row.job_id)).scalar_one()
    return row.node, expires, cancelled


def extend_all(connection: sa.Connection, now: float, seconds: float, slept: float = 0.0) -> int:
    """Give every live lease ``seconds`` from now: its test node could not renew it while the engine was away.

    The engine's own limits move by the seconds that it ``slept``, and no result that waits is too late for one.
    """
    latest = sa.case((attempts.c.deadline + slept > now + seconds, attempts.c.deadline + slept), else_=now + seconds)
    values = {"expires": now + seconds, "deadline": latest}
    return connection.execute(sa.update(attempts).where(attempts.c.ended.is_(None)).values(values)).rowcount


def set_steps(connection: sa.Connection, lease: int, fencing: int, steps: tuple[Step, ...]) -> None:
    """Replace the steps of a live attempt."""
    _live(connection, lease, fencing)
    connection.execute(sa.update(attempts).where(attempts.c.id == lease).values(steps=encode(steps)))


def finish(
    connection: sa.Connection,
    lease: int,
    fencing: int,
    outcome: Outcome,
    reason: str,
    now: float,
    terms: LeaseTerms,
    *,
    digest: str,
    steps: tuple[Step, ...] = (),
    cases: tuple[TestCase, ...] = (),
    manifest: str | None = None,
) -> Ended | None:
    """End an attempt with its result; None when this very result (by its ``digest``) was recorded before."""
    known = connection.execute(
        sa.select(attempts.c.fencing, attempts.c.result).where(attempts.c.id == lease)
    ).one_or_none()
    if known is not None and known.fencing == fencing and known.result == digest:
        return None
    row = _live(connection, lease, fencing)
    values = {"result": digest, "steps": encode(steps), "manifest": manifest}
    connection.execute(sa.update(attempts).where(attempts.c.id == lease).values(**values))
    if cases:
        connection.execute(sa.insert(test_cases), [{**encode(case), "attempt_id": lease} for case in cases])
    return _end(connection, row, outcome, reason, now, terms)


def expire(connection: sa.Connection, now: float, terms: LeaseTerms) -> tuple[Ended, ...]:
    """End the attempts whose test node fell silent, and those beyond the engine's own limit."""
    over = sa.or_(attempts.c.expires <= now, attempts.c.deadline <= now)
    query = sa.select(attempts).where(attempts.c.ended.is_(None), over).with_for_update(skip_locked=True)
    ended = []
    for row in connection.execute(query).all():
        if row.expires <= now:
            reason = f"test node {row.node} fell silent for {now - row.expires + terms.seconds:.0f} s"
            ended.append(_end(connection, row, Outcome.LOST, reason, now, terms))
        else:
            reason = f"did not end in {row.deadline - row.started:.0f} s"
            ended.append(_end(connection, row, Outcome.TIMED_OUT, reason, now, terms))
    return tuple(ended)


@dataclass(frozen=True)
class Due:
    """What the engine's sweep would find to do."""

    expired: bool  # a lease ran out
    unjudged: bool  # a job is done and has no verdict

    @property
    def is_anything(self) -> bool:
        """Whether a writing transaction is worth its while."""
        return self.expired or self.unjudged


def due(connection: sa.Connection, now: float) -> Due:
    """Look, without a lock, whether there is anything for :func:`expire` or the verdict rules."""
    over = sa.or_(attempts.c.expires <= now, attempts.c.deadline <= now)
    expired = sa.select(attempts.c.id).where(attempts.c.ended.is_(None), over).limit(1)
    unjudged = (
        sa.select(jobs_table.c.id).where(jobs_table.c.state == JobState.DONE, jobs_table.c.verdict.is_(None)).limit(1)
    )
    return Due(connection.execute(expired).first() is not None, connection.execute(unjudged).first() is not None)


def note_log_size(connection: sa.Connection, attempt: int, size: int) -> None:
    """Remember how many bytes the log of an ended attempt has."""
    connection.execute(sa.update(attempts).where(attempts.c.id == attempt).values(log_bytes=size))


def _live(connection: sa.Connection, lease: int, fencing: int | None, *, lock: bool = True) -> Any:
    query = sa.select(attempts).where(attempts.c.id == lease)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise StaleLeaseError(lease, "is not known")
    if row.ended is not None:
        raise StaleLeaseError(lease, f"has ended: {row.outcome}")
    if fencing is not None and row.fencing != fencing:
        raise StaleLeaseError(lease, f"has fencing {row.fencing}, not {fencing}")
    return row


def _end(connection: sa.Connection, row: Any, outcome: Outcome, reason: str, now: float, terms: LeaseTerms) -> Ended:
    """End an attempt, and with it its job unless another attempt may mend what went wrong."""
    values = {"ended": now, "outcome": outcome, "reason": reason[:2000]}
    connection.execute(sa.update(attempts).where(attempts.c.id == row.id).values(**values))
    cancelled = connection.execute(sa.select(jobs_table.c.cancelled).where(jobs_table.c.id == row.job_id)).scalar_one()
    tried = connection.execute(
        sa.select(sa.func.count()).where(attempts.c.job_id == row.job_id, attempts.c.outcome.in_(list(RETRIED)))
    ).scalar_one()
    is_again = outcome in RETRIED and not cancelled and tried < terms.attempts
    job: dict[str, object]
    if is_again:
        job = {"state": JobState.WAITING}
        if outcome is Outcome.INFRASTRUCTURE:
            job |= {"avoid": row.node, "avoid_until": now + terms.avoid}
    else:
        final = Outcome.CANCELLED if cancelled and outcome in RETRIED else outcome
        job = {"state": JobState.DONE, "outcome": final, "ended": now}
    connection.execute(sa.update(jobs_table).where(jobs_table.c.id == row.job_id).values(**job))
    data = {"attempt": row.number, "node": row.node, "outcome": outcome.value, "reason": reason[:500]}
    events.record(connection, now, "attempt.ended", f"job/{row.job_id}", data)
    return Ended(row.id, row.job_id, row.log, outcome, not is_again)
