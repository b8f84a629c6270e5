# SPDX-License-Identifier: Apache-2.0
"""Proofs: a job that ran and passed or failed says the same of every other one with the same inputs."""

from dataclasses import dataclass
from typing import Final

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


_waiting, _ran = jobs.alias("waiting"), jobs.alias("ran")
_present = sa.select(nodes.c.environment).where(nodes.c.environment != "", nodes.c.last_seen > sa.bindparam("since"))
_deployable = sa.exists().where(manifests.c.sha256 == attempts.c.manifest, ~manifests.c.closure_gone)
_undeployable = sa.exists().where(
    attempts.c.job_id == _ran.c.id,
    attempts.c.outcome == Outcome.PASSED,
    attempts.c.manifest.is_not(None),
    ~_deployable,
)
# Made once: it is asked after each job.
_FIND: Final = (
    sa.select(_waiting.c.id, _waiting.c.project_id, _ran.c.id.label("by"), _ran.c.outcome)
    .join(_ran, _ran.c.files == _waiting.c.files)
    .where(
        _waiting.c.state == JobState.WAITING,
        ~_waiting.c.is_fresh,
        *(_waiting.c[name] == _ran.c[name] for name in ("project_id", "release", "kind", "platform")),
        _ran.c.state == JobState.DONE,
        _ran.c.outcome.in_(CONCLUSIVE),
        _ran.c.proved_by.is_(None),
        _ran.c.environment.in_(_present),
        ~_undeployable,
    )
    .order_by(_waiting.c.id, _ran.c.ended)
)
_FIND_BY: Final = _FIND.where(_ran.c.id == sa.bindparam("by"))
_HOLD: Final = (
    sa.select(manifests.c.id)
    .join(attempts, attempts.c.manifest == manifests.c.sha256)
    .where(attempts.c.job_id == sa.bindparam("by"))
    .with_for_update(of=manifests)
)
# Locks the job that proves: a retry comes before, or finds what was proved.
_SHOWN: Final = (
    sa.select(_ran.c.environment, _ran.c.input_hash)
    .where(
        _ran.c.id == sa.bindparam("by"),
        _ran.c.state == JobState.DONE,
        _ran.c.outcome == sa.bindparam("outcome"),
        ~_undeployable,
    )
    .with_for_update(read=True, of=_ran)
)


def find(
    connection: sa.Connection, now: float, *, of: tuple[int, ...] | None = None, by: int | None = None
) -> tuple[Proof, ...]:
    """Return the proofs of waiting jobs, only ``of`` these or ``by`` that one where it is given; fresh jobs have none.

    The job that proves had the same files, and ran in an environment that a connected test node has now. If it passed,
    the manifest that it made is signed and its closure is here: else it leaves nothing to deploy.
    """
    query, values = _FIND, {"since": now - SILENCE}
    if of is not None:
        query = query.where(_waiting.c.id.in_(of))
    if by is not None:
        query, values = _FIND_BY, {**values, "by": by}
    found = {
        row.id: Proof(row.id, row.project_id, row.by, Outcome(row.outcome)) for row in connection.execute(query, values)
    }
    return tuple(found.values())  # of each the newest


def apply(connection: sa.Connection, proof: Proof, now: float) -> bool:
    """End a waiting job as its proof did; False when it waits no longer, or that proves nothing any more."""
    connection.execute(_HOLD, {"by": proof.by}).all()  # retention takes no closure away that is to be offered again
    row = connection.execute(_SHOWN, {"by": proof.by, "outcome": proof.outcome}).one_or_none()
    if row is None:
        return False
    values = {
        **row._mapping,
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
