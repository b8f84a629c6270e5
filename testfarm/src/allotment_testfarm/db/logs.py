# SPDX-License-Identifier: Apache-2.0
"""What the tables say of the logs: which attempt a log is of, whether it goes on, whether it was removed."""

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from allotment.messages.job import JobState
from allotment_testfarm.db.schema import attempts, jobs


@dataclass(frozen=True)
class AttemptLog:
    """An attempt's log."""

    attempt: int  # the attempt's id
    job: int
    number: int  # of the attempt, 1 for the first
    path: str  # inside the farm's folder
    has_ended: bool  # nothing more is written to it
    removed: float | None  # when retention removed it, UTC epoch seconds


def find(connection: sa.Connection, job: int, number: int | None = None) -> AttemptLog | None:
    """Return the log of a job's attempt, of the newest without ``number``; None when there is no such attempt."""
    query = sa.select(attempts).where(attempts.c.job_id == job).order_by(attempts.c.number.desc()).limit(1)
    if number is not None:
        query = query.where(attempts.c.number == number)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return AttemptLog(row.id, row.job_id, row.number, row.log, row.ended is not None, row.log_removed)


def ends(connection: sa.Connection, ids: Collection[int]) -> dict[int, bool]:
    """Return those of the attempts that have ended, each with whether its job is done."""
    query = (
        sa.select(attempts.c.id, jobs.c.state)
        .join(jobs, jobs.c.id == attempts.c.job_id)
        .where(attempts.c.id.in_(ids), attempts.c.ended.is_not(None))
    )
    return {row.id: row.state == JobState.DONE for row in connection.execute(query)}
