# SPDX-License-Identifier: Apache-2.0
"""What it takes to run a job again elsewhere, and to see whether the same comes out."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from allotment.messages.job import Job, Outcome, TestCase
from allotment_testfarm.db import attempts, inputs
from allotment_testfarm.db.schema import jobs, projects, revisions
from allotment_testfarm.git import shown


@dataclass(frozen=True)
class Reproduction:
    """A job as its test node got it, where its files come from, and how its newest attempt ended.

    Of a job that was not run, because another one had the same inputs, it is that one's attempt.
    """

    job: Job
    repository: str  # path or URL, without its password
    node: str  # test node of the attempt; "" while there is none
    environment: Mapping[str, str]  # what the attempt saw of the test node, such as versions, by name
    outcome: Outcome | None  # None while it has not ended
    reason: str
    cases: tuple[TestCase, ...]


def get(connection: sa.Connection, number: int) -> Reproduction | None:
    """Return what reproduces a job; None when there is no such job."""
    query = (
        sa.select(
            *(jobs, projects.c.name.label("project"), projects.c.repository, revisions.c.commit),
            attempts.last_that_ended(jobs).label("last"),
        )
        .join(projects, projects.c.id == jobs.c.project_id)
        .join(revisions, revisions.c.id == jobs.c.revision_id)
    )
    row = connection.execute(query.where(jobs.c.id == number)).one_or_none()
    if row is None:
        return None
    names = ("id", "project", "release", "profile", "kind", "platform", "timeout", "input_hash", "options")
    job = Job(revision=row.commit, **{name: getattr(row, name) for name in names})
    newest = None if row.last is None else attempts.get(connection, row.last)
    return Reproduction(
        job=job,
        repository=shown(row.repository),
        node=newest.node if newest else "",
        environment=inputs.get(connection, row.environment),
        outcome=newest.outcome if newest else None,
        reason=newest.reason if newest else "",
        cases=attempts.cases_of(connection, newest.id) if newest else (),
    )
