# SPDX-License-Identifier: Apache-2.0
"""What may go: logs, events and blobs that no rule keeps, found and forgotten a few at a time."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from allotment.messages.job import JobState
from allotment_testfarm.db.schema import attempts, events, jobs, manifests
from allotment_testfarm.retention import DAY, Rules
from allotment_testfarm.verdicts import Colour

Place = tuple[float, int]  # of an attempt in the order in which attempts ended: when, and its id
START: Place = (0.0, 0)


@dataclass(frozen=True)
class OldLog:
    """An attempt's log that no rule keeps."""

    attempt: int  # the attempt's id
    job: int
    number: int  # of the attempt
    release: str
    path: str  # inside the farm's folder


@dataclass(frozen=True)
class OldLogs:
    """Those among a few attempts, and after which place the next ones come; None at the end."""

    logs: tuple[OldLog, ...]
    following: Place | None


def old_logs(connection: sa.Connection, rules: Rules, now: float, after: Place = START, limit: int = 100) -> OldLogs:
    """Look at ``limit`` attempts, those that ended first before the others, and return the logs that may go.

    Kept are those that are young enough, those of the newest jobs of each release and of the jobs that proved them,
    and those of the attempts that made the newest manifests.
    """
    green, others = now - rules.green_logs * DAY, now - rules.logs * DAY
    # In one expression: a condition on the state alone would make SQLite begin with all jobs that are done.
    is_open, is_green = jobs.c.state != JobState.DONE, jobs.c.colour == Colour.GREEN
    oldest_kept = sa.case((is_open, 0.0), (is_green, green), else_=others)
    # By the index alone, and no more than these: databases can't tell that the rest is cheaper to ask of a few.
    few = (
        sa.select(attempts.c.id, attempts.c.ended)
        .where(
            attempts.c.log_removed.is_(None),
            attempts.c.ended.is_not(None),
            attempts.c.ended < max(green, others),
            sa.tuple_(attempts.c.ended, attempts.c.id) > after,
        )
        .order_by(attempts.c.ended, attempts.c.id)
        .limit(limit)
    )
    looked_at = connection.execute(few).all()
    following = (looked_at[-1].ended, looked_at[-1].id) if len(looked_at) == limit else None
    query = (
        sa.select(attempts.c.id, attempts.c.job_id, attempts.c.number, jobs.c.release, attempts.c.log)
        .join(jobs, jobs.c.id == attempts.c.job_id)
        .where(
            attempts.c.id.in_([row.id for row in looked_at]),
            attempts.c.ended < oldest_kept,
            jobs.c.position < _last_kept(rules),  # NULL, so false, where there are not so many
            ~_proves_kept(rules),
            attempts.c.id.not_in(sa.select(manifests.c.attempt_id).where(manifests.c.id.in_(_newest(rules)))),
        )
        .order_by(attempts.c.id)
    )
    return OldLogs(tuple(OldLog(*row) for row in connection.execute(query)), following)


def ended_logs(
    connection: sa.Connection, after: Place = START, limit: int = 100
) -> tuple[tuple[str, ...], Place | None]:
    """Return the paths of the logs of ``limit`` attempts that have ended, and after which place the next ones come."""
    query = (
        sa.select(attempts.c.ended, attempts.c.id, attempts.c.log)
        .where(
            attempts.c.log_removed.is_(None),
            attempts.c.ended.is_not(None),
            sa.tuple_(attempts.c.ended, attempts.c.id) > after,
        )
        .order_by(attempts.c.ended, attempts.c.id)
        .limit(limit)
    )
    rows = connection.execute(query).all()
    return tuple(row.log for row in rows), (rows[-1].ended, rows[-1].id) if len(rows) == limit else None


def forget_logs(connection: sa.Connection, ids: Collection[int], now: float) -> None:
    """Note that the logs of some attempts were removed now."""
    connection.execute(sa.update(attempts).where(attempts.c.id.in_(ids)).values(log_removed=now))


def old_events(
    connection: sa.Connection, rules: Rules, now: float, after: int = 0, limit: int = 500
) -> tuple[int, ...]:
    """Return the ids of events that may go; fewer than ``limit``, and there are no more.

    The newest one stays: its number says whether anything has happened.
    """
    newest = sa.select(sa.func.max(events.c.id)).scalar_subquery()
    query = sa.select(events.c.id, events.c.time).where(events.c.id > after, events.c.id < newest)
    rows = connection.execute(query.order_by(events.c.id).limit(limit))
    return tuple(row.id for row in rows if row.time < now - rules.events * DAY)


def remove_events(connection: sa.Connection, ids: Collection[int]) -> None:
    """Remove events."""
    connection.execute(sa.delete(events).where(events.c.id.in_(ids)))


def needed_blobs(connection: sa.Connection, rules: Rules) -> frozenset[str]:
    """Return the closures of the newest manifests, and of those that were offered to a master in vain so far."""
    return frozenset(connection.execute(sa.select(manifests.c.closure).where(_needs_closure(rules))).scalars())


def needed_parts(connection: sa.Connection, rules: Rules) -> frozenset[str]:
    """Return the hashes of all parts that the newest manifests name, on any platform."""
    query = sa.select(manifests.c.document).where(manifests.c.id.in_(_newest(rules)))
    platforms = [parts for document in connection.execute(query).scalars() for parts in _parts(document)]
    return frozenset(digest for parts in platforms for digest in parts.values())


def _parts(document: dict[str, Any]) -> Collection[dict[str, str]]:
    """Return the parts of a signed manifest, as they are in the table, for each platform."""
    found: dict[str, dict[str, str]] = document["manifest"]["parts"]
    return found.values()


def give_up_blob(connection: sa.Connection, rules: Rules, sha256: str) -> bool:
    """Note that a closure is about to go, so that nothing rests on it; False when a manifest needs it."""
    its = manifests.c.closure == sha256
    connection.execute(sa.select(manifests.c.id).where(its).with_for_update()).all()  # who offers one again comes first
    if connection.execute(sa.select(manifests.c.id).where(its, _needs_closure(rules)).limit(1)).first() is not None:
        return False
    connection.execute(sa.update(manifests).where(its).values(closure_gone=True))
    return True


def _needs_closure(rules: Rules) -> sa.ColumnElement[bool]:
    is_refused = sa.and_(manifests.c.offered.is_(None), manifests.c.problem != "")
    return sa.or_(manifests.c.id.in_(_newest(rules)), is_refused)


def _newest(rules: Rules) -> sa.Select[tuple[int]]:
    """Select the ids of each release's newest manifests."""
    order = (manifests.c.created.desc(), manifests.c.id.desc())
    rank = sa.func.row_number().over(partition_by=manifests.c.name, order_by=order).label("rank")
    ranked = sa.select(manifests.c.id, rank).subquery()
    return sa.select(ranked.c.id).where(ranked.c.rank <= rules.manifests)


def _last_kept(rules: Rules) -> sa.ScalarSelect[int]:
    """Select the position of the oldest one of the newest jobs of a job's release."""
    other = jobs.alias("other")
    positions = sa.select(other.c.position).where(*_same(other)).order_by(other.c.position.desc())
    return positions.limit(1).offset(rules.jobs - 1).correlate(jobs).scalar_subquery()


def _proves_kept(rules: Rules) -> sa.Exists:
    """Tell whether one of the newest jobs of a job's release was not run because that job has shown how it ends."""
    kept = jobs.alias("kept")
    return sa.exists().where(*_same(kept), kept.c.position >= _last_kept(rules), kept.c.proved_by == jobs.c.id)


def _same(other: sa.FromClause) -> Iterator[sa.ColumnElement[bool]]:
    return (jobs.c[name] == other.c[name] for name in ("project_id", "release", "kind", "platform"))
