# SPDX-License-Identifier: Apache-2.0
"""Proofs: a job that ran and passed or failed says the same of every other one with the same inputs."""

from dataclasses import dataclass

import sqlalchemy as sa

from allotment.messages.job import JobState, Outcome
from allotment_testfarm.db import events
from allotment_testfarm.db.inputs import CONCLUSIVE
from allotment_testfarm.db.nodes import SILENCE
from allotment_testfarm.db.schema import attempts, jobs, manifests, nodes


@dataclass(frozen=True)
class Proof:
    """A job that waits, and the one that has shown how it would end."""

    job: int
    project: int
    by: int
    outcome: Outcome


def find(
    connection: sa.Connection, now: float, *, of: tuple[int, ...] | None = None, by: int | None = None
) -> tuple[Proof, ...]:
    """Return the proofs of waiting jobs, only ``of`` these or ``by`` that one where it is given; fresh jobs have none.

    The job that proves had the same files, and ran in an environment that a connected test node has now. If it passed,
    the manifest that it made is signed: a job whose manifest was refused leaves nothing to deploy.
    """
    waiting, ran = jobs.alias(), jobs.alias()
    present = sa.select(nodes.c.environment).where(nodes.c.environment != "", nodes.c.last_seen > now - SILENCE)
    unsigned = sa.exists().where(
        attempts.c.job_id == ran.c.id,
        attempts.c.outcome == Outcome.PASSED,
        attempts.c.manifest.is_not(None),
        attempts.c.manifest.not_in(sa.select(manifests.c.sha256)),
    )
    query = (
        sa.select(waiting.c.id, waiting.c.project_id, ran.c.id.label("by"), ran.c.outcome)
        .join(ran, ran.c.files == waiting.c.files)
        .where(
            waiting.c.state == JobState.WAITING,
            ~waiting.c.is_fresh,
            *(waiting.c[name] == ran.c[name] for name in ("project_id", "release", "kind", "platform")),
            ran.c.state == JobState.DONE,
            ran.c.outcome.in_(CONCLUSIVE),
            ran.c.proved_by.is_(None),
            ran.c.environment.in_(present),
            ~unsigned,
        )
        .order_by(waiting.c.id, ran.c.ended)
    )
    if of is not None:
        query = query.where(waiting.c.id.in_(of))
    if by is not None:
        query = query.where(ran.c.id == by)
    found = {row.id: Proof(row.id, row.project_id, row.by, Outcome(row.outcome)) for row in connection.execute(query)}
    return tuple(found.values())  # of each the newest


def apply(connection: sa.Connection, proof: Proof, now: float) -> bool:
    """End a waiting job as its proof did; False when it waits no longer."""
    shown = sa.select(jobs.c.environment, jobs.c.input_hash).where(jobs.c.id == proof.by)
    values = {
        **connection.execute(shown).one()._mapping,
        "state": JobState.DONE,
        "outcome": proof.outcome,
        "proved_by": proof.by,
        "ended": now,
    }
    waits = (jobs.c.id == proof.job, jobs.c.state == JobState.WAITING, ~jobs.c.is_fresh)
    if not connection.execute(sa.update(jobs).where(*waits).values(**values)).rowcount:
        return False
    data = {"by": proof.by, "outcome": proof.outcome.value}
    events.record(connection, now, "job.proved", f"job/{proof.job}", data)
    return True
