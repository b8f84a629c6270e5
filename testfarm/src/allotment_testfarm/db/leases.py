# SPDX-License-Identifier: Apache-2.0
"""Leases: renewals keep one, a result or its expiry ends it; claims.py starts it. All in writing transactions."""

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from allotment.codec import encode
from allotment.errors import RefusedError
from allotment.messages.job import RETRIED, BuiltPart, JobState, KeptPromise, Outcome, Step, TestCase
from allotment_testfarm.db import events
from allotment_testfarm.db.schema import attempts, jobs, test_cases


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

    seconds: float = 20.0  # a lease runs so long without a heartbeat
    attempts: int = 4  # so often is a job tried that was lost or met a test node that could not do its part
    backoff: float = 2.0  # seconds until the second of these; three times as many until the third, and so on
    grace: float = 60.0  # seconds that the engine's own limit allows beyond the job's timeout
    avoid: float = 15.0  # seconds for which a test node that could not do its part is passed over

    def delay(self, tries: int) -> float:
        """Return how many seconds a job waits after it was tried in vain so often."""
        return float(self.backoff * 3 ** (tries - 1))

    @property
    def longest(self) -> float:
        """Seconds after which a job that was tried in vain waits for nothing more than its turn."""
        return max(self.delay(self.attempts - 1), self.avoid)


class StaleLeaseError(RefusedError):
    """A lease has ended or was given away; the test node drops the job."""

    def __init__(self, lease: int, problem: str) -> None:
        super().__init__(f"lease {lease} {problem}", "Stop the job and take another lease", status=409)


# What each job asks for is made once.
_SET_JOB: Final = sa.update(jobs).where(jobs.c.id == sa.bindparam("job"))
_SET_ATTEMPT: Final = sa.update(attempts).where(attempts.c.id == sa.bindparam("lease"))
_ATTEMPT: Final = sa.select(attempts).where(attempts.c.id == sa.bindparam("lease"))
_CHANGE: Final = (
    sa.update(attempts)
    .where(attempts.c.id == sa.bindparam("lease"), attempts.c.fencing == sa.bindparam("held"))
    .where(attempts.c.ended.is_(None))
    .returning(attempts.c.job_id, attempts.c.node)
)
# Attempts with what decides whether their jobs are tried again.
_WITH_JOB: Final = sa.select(
    *(attempts.c.id, attempts.c.job_id, attempts.c.number, attempts.c.node, attempts.c.fencing, attempts.c.started),
    *(attempts.c.expires, attempts.c.deadline, attempts.c.ended, attempts.c.outcome, attempts.c.result, attempts.c.log),
    *(jobs.c.cancelled, jobs.c.tries),
).join(jobs, jobs.c.id == attempts.c.job_id)
_LOCKED: Final = _WITH_JOB.where(attempts.c.id == sa.bindparam("lease")).with_for_update()


def give_back(connection: sa.Connection, lease: int, now: float) -> None:
    """Undo a claim that its test node has never heard of: no attempt was made. A job that was cancelled ends."""
    row = _checked(_locked(connection, lease), lease, None)
    connection.execute(sa.delete(attempts).where(attempts.c.id == lease))
    values: dict[str, object] = {"state": JobState.WAITING}
    if row.cancelled:
        values = {"state": JobState.DONE, "outcome": Outcome.CANCELLED, "ended": now}
    if row.number == 1:
        values["started"] = None
    connection.execute(sa.update(jobs).where(jobs.c.id == row.job_id).values(**values))
    events.record(connection, now, "job.given-back", f"job/{row.job_id}", {"node": row.node})


def check(connection: sa.Connection, lease: int, fencing: int) -> str:
    """Return the path of a live lease's log; a stale one is a :class:`StaleLeaseError`. Needs only ``read()``."""
    row = connection.execute(_ATTEMPT, {"lease": lease}).one_or_none()
    return str(_checked(row, lease, fencing).log)


def check_or_ended(connection: sa.Connection, lease: int, fencing: int) -> str:
    """As :func:`check`, for a result that may come again: a lease that has ended with a result passes too."""
    row = connection.execute(_ATTEMPT, {"lease": lease}).one_or_none()
    if row is not None and row.fencing == fencing and row.result is not None:
        return str(row.log)
    return check(connection, lease, fencing)


def renew(connection: sa.Connection, lease: int, fencing: int, now: float, seconds: float) -> tuple[str, float, bool]:
    """Renew a lease; return its test node, until when it now runs, and whether its job was cancelled.

    A lease whose time is over but which nobody took away yet is renewed too: the test node is there after all.
    """
    expires = now + seconds
    job = _change(connection, lease, fencing, {"expires": expires})
    cancelled = connection.execute(sa.select(jobs.c.cancelled).where(jobs.c.id == job.job_id)).scalar_one()
    return str(job.node), expires, bool(cancelled)


def extend_own(connection: sa.Connection, now: float, seconds: float, engine: str) -> int:
    """Give the live leases of one engine ``seconds`` from now: nobody could renew them while it was away."""
    return _extend(connection, now, seconds, attempts.c.deadline, attempts.c.engine == engine)


def extend_all(connection: sa.Connection, now: float, seconds: float, engine: str, slept: float) -> int:
    """Give every live lease ``seconds`` from now: nobody could renew one while ``engine`` slept.

    The engine's own limits move by the seconds that it ``slept``, which are negative when the clock was set back. Each
    engine moves those of its own leases: where all are on one machine, each has slept.
    """
    moved = sa.case((attempts.c.engine == engine, attempts.c.deadline + slept), else_=attempts.c.deadline)
    return _extend(connection, now, seconds, moved)


def set_steps(
    connection: sa.Connection, lease: int, fencing: int, steps: tuple[Step, ...], parts: tuple[BuiltPart, ...] = ()
) -> None:
    """Replace the steps and parts of a live attempt."""
    _change(connection, lease, fencing, {"steps": encode(steps), "parts": encode(parts)})


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
    parts: tuple[BuiltPart, ...] = (),
    promises: tuple[KeptPromise, ...] = (),
    manifest: str | None = None,
    log_bytes: int = 0,
    is_given_back: bool = False,
) -> Ended | None:
    """End an attempt with its result; None when this very result (by its ``digest``) was recorded before.

    One that says nothing of the software and ``is_given_back`` does not count as a try: the job waits again at once.
    """
    row = _locked(connection, lease)
    if row is not None and row.fencing == fencing and row.result == digest:
        return None
    row = _checked(row, lease, fencing)
    if cases:
        connection.execute(sa.insert(test_cases), [{**encode(case), "attempt_id": lease} for case in cases])
    values: dict[str, object] = {"result": digest, "manifest": manifest, "log_bytes": log_bytes}
    values |= {"steps": encode(steps), "parts": encode(parts), "promises": encode(promises)}
    return _end(connection, row, outcome, reason, now, terms, values, is_given_back=is_given_back)


def expire(connection: sa.Connection, now: float, terms: LeaseTerms) -> tuple[Ended, ...]:
    """End the attempts whose test node fell silent, and those beyond the engine's own limit."""
    over = sa.or_(attempts.c.expires <= now, attempts.c.deadline <= now)
    ended = []
    for row in connection.execute(_WITH_JOB.where(attempts.c.ended.is_(None), over).with_for_update(skip_locked=True)):
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
    unjudged = sa.select(jobs.c.id).where(jobs.c.state == JobState.DONE, jobs.c.verdict.is_(None)).limit(1)
    return Due(connection.execute(expired).first() is not None, connection.execute(unjudged).first() is not None)


def note_log_size(connection: sa.Connection, attempt: int, size: int) -> None:
    """Remember how many bytes the log of an ended attempt has."""
    connection.execute(sa.update(attempts).where(attempts.c.id == attempt).values(log_bytes=size))


def _locked(connection: sa.Connection, lease: int) -> Any:
    return connection.execute(_LOCKED, {"lease": lease}).one_or_none()


def _extend(
    connection: sa.Connection,
    now: float,
    seconds: float,
    deadline: sa.ColumnElement[float],
    *which: sa.ColumnElement[bool],
) -> int:
    """Let leases run and their engine's own limits be ``seconds`` away at least: no result that waits is too late."""
    soonest = now + seconds
    latest = sa.case((deadline > soonest, deadline), else_=soonest)
    live = sa.update(attempts).where(attempts.c.ended.is_(None), *which)
    return connection.execute(live.values(expires=soonest, deadline=latest)).rowcount


def _change(connection: sa.Connection, lease: int, fencing: int, values: dict[str, object]) -> Any:
    """Change a live attempt and return its job and test node; a stale lease is a :class:`StaleLeaseError`."""
    row = connection.execute(_CHANGE, {"lease": lease, "held": fencing, **values}).one_or_none()
    if row is None:
        raise _refusal(connection.execute(_ATTEMPT, {"lease": lease}).one_or_none(), lease, fencing)
    return row


def _checked(row: Any, lease: int, fencing: int | None) -> Any:
    """Return the row of a lease if that is live."""
    if row is None or row.ended is not None or fencing not in (None, row.fencing):
        raise _refusal(row, lease, fencing)
    return row


def _refusal(row: Any, lease: int, fencing: int | None) -> StaleLeaseError:
    if row is None:
        return StaleLeaseError(lease, "is not known")
    if row.ended is not None:
        return StaleLeaseError(lease, f"has ended: {row.outcome}")
    return StaleLeaseError(lease, f"has fencing {row.fencing}, not {fencing}")


def _end(
    connection: sa.Connection,
    row: Any,
    outcome: Outcome,
    reason: str,
    now: float,
    terms: LeaseTerms,
    values: dict[str, object] | None = None,
    *,
    is_given_back: bool = False,
) -> Ended:
    """End an attempt, and with it its job unless another attempt may mend what went wrong."""
    ending = {**(values or {}), "ended": now, "outcome": outcome, "reason": reason[:2000]}
    connection.execute(_SET_ATTEMPT, {"lease": row.id, **ending})
    is_vain = outcome in RETRIED
    tries = row.tries + (is_vain and not is_given_back)
    is_again = is_vain and not row.cancelled and (is_given_back or tries < terms.attempts)
    job: dict[str, object] = {"tries": tries}
    if is_again and is_given_back:
        job |= {"state": JobState.WAITING, "ready": now}
    elif is_again:
        job |= {"state": JobState.WAITING, "ready": now + terms.delay(tries)}
        if outcome is Outcome.INFRASTRUCTURE:
            job |= {"avoid": row.node, "avoid_until": now + terms.avoid}
    else:
        final = Outcome.CANCELLED if row.cancelled and is_vain else outcome
        job |= {"state": JobState.DONE, "outcome": final, "ended": now}
    connection.execute(_SET_JOB, {"job": row.job_id, **job})
    data = {"attempt": row.number, "node": row.node, "outcome": outcome.value, "reason": reason[:500]}
    events.record(connection, now, "attempt.ended", f"job/{row.job_id}", data)
    return Ended(row.id, row.job_id, row.log, outcome, not is_again)
