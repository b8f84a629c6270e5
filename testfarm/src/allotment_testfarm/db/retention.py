# SPDX-License-Identifier: Apache-2.0
"""What may go: logs, events and blobs that no rule keeps, found and forgotten a few at a time."""

from collections.abc import Collection
from dataclasses import dataclass

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
    ended: float
    job: int
    number: int  # of the attempt
    release: str
    path: str  # inside the farm's folder

    @property
    def place(self) -> Place:
        """After which the next ones come."""
        return self.ended, self.attempt


def old_logs(
    connection: sa.Connection, rules: Rules, now: float, after: Place = START, limit: int = 100
) -> tuple[OldLog, ...]:
    """Return logs that may go, those that ended first before the others.

    Kept are those that are young enough, those of the newest jobs of each release, and those of the attempts that
    made the newest manifests.
    """
    other = jobs.alias("other")
    same = (jobs.c[name] == other.c[name] for name in ("project_id", "release", "kind", "platform"))
    positions = sa.select(other.c.position).where(*same).order_by(other.c.position.desc())
    oldest_kept = positions.limit(1).offset(rules.jobs - 1).correlate(jobs).scalar_subquery()
    green, others = now - rules.green_logs * DAY, now - rules.logs * DAY
    query = (
        sa.select(attempts.c.id, attempts.c.ended, attempts.c.job_id, attempts.c.number, jobs.c.release, attempts.c.log)
        .join(jobs, jobs.c.id == attempts.c.job_id)
        .where(
            attempts.c.log_removed.is_(None),
            attempts.c.ended < max(green, others),  # for the index
            attempts.c.ended < sa.case((jobs.c.colour == Colour.GREEN, green), else_=others),
            sa.tuple_(attempts.c.ended, attempts.c.id) > after,
            jobs.c.state == JobState.DONE,
            jobs.c.position < oldest_kept,  # NULL, so false, where there are not so many
            attempts.c.id.not_in(sa.select(manifests.c.attempt_id).where(manifests.c.id.in_(_newest(rules)))),
        )
        .order_by(attempts.c.ended, attempts.c.id)
        .limit(limit)
    )
    return tuple(OldLog(*row) for row in connection.execute(query))


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
    is_refused = sa.and_(manifests.c.offered.is_(None), manifests.c.problem != "")
    wanted = sa.or_(manifests.c.id.in_(_newest(rules)), is_refused)
    closure = manifests.c.document["manifest"]["closure"]["sha256"].as_string()
    return frozenset(connection.execute(sa.select(closure).where(wanted)).scalars())


def _newest(rules: Rules) -> sa.Select[tuple[int]]:
    """Select the ids of each release's newest manifests."""
    order = (manifests.c.created.desc(), manifests.c.id.desc())
    rank = sa.func.row_number().over(partition_by=manifests.c.name, order_by=order).label("rank")
    ranked = sa.select(manifests.c.id, rank).subquery()
    return sa.select(ranked.c.id).where(ranked.c.rank <= rules.manifests)
