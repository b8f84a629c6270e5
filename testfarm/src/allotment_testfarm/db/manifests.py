# SPDX-License-Identifier: Apache-2.0
"""Signed manifests of green jobs, kept until the master has accepted each, and after."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from allotment.codec import decode, encode
from allotment.messages.job import Outcome
from allotment.messages.manifest import SignedManifest
from allotment_testfarm.db.schema import attempts, manifests

_NEWEST_FIRST = (manifests.c.created.desc(), manifests.c.id.desc())


@dataclass(frozen=True)
class StoredManifest:
    """A manifest that the farm has signed."""

    sha256: str
    name: str
    signed: SignedManifest
    attempt: int  # id of the attempt that last made it
    created: float  # when that was signed
    offered: float | None  # when the master accepted it
    problem: str  # why the last offer failed


def add(connection: sa.Connection, signed: SignedManifest, attempt: int, now: float) -> bool:
    """Keep a signed manifest, whose closure is here, to be offered; False when it is its release's newest already.

    Two revisions may well give the same one. After a revert that is an older one, which is offered anew: for the
    master the one that came last is the newest.
    """
    sha256, name = signed.manifest.sha256, signed.manifest.name
    newest = sa.select(manifests.c.sha256).where(manifests.c.name == name)
    if connection.execute(newest.order_by(*_NEWEST_FIRST).limit(1)).scalar() == sha256:
        return False
    values: dict[str, Any] = {"attempt_id": attempt, "created": now, "offered": None, "closure_gone": False}
    known = connection.execute(sa.update(manifests).where(manifests.c.sha256 == sha256).values(values))
    if known.rowcount == 0:
        values |= {"sha256": sha256, "name": name, "document": encode(signed)}
        values["closure"] = signed.manifest.closure.sha256
        connection.execute(sa.insert(manifests).values(values))
    return True


def get(connection: sa.Connection, sha256: str) -> StoredManifest | None:
    """Return one manifest."""
    row = connection.execute(sa.select(manifests).where(manifests.c.sha256 == sha256)).one_or_none()
    return None if row is None else _stored(row)


def made_by(connection: sa.Connection, job: int) -> StoredManifest | None:
    """Return the signed manifest that a job's passed attempt has made."""
    made = sa.select(attempts.c.manifest).where(attempts.c.job_id == job, attempts.c.outcome == Outcome.PASSED)
    sha256 = connection.execute(made.order_by(attempts.c.number.desc()).limit(1)).scalar()
    return None if sha256 is None else get(connection, sha256)


def to_offer(connection: sa.Connection) -> tuple[StoredManifest, ...]:
    """Return the manifests that the master has not accepted, oldest first; without a closure there is no offer."""
    query = sa.select(manifests).where(manifests.c.offered.is_(None), ~manifests.c.closure_gone)
    return tuple(_stored(row) for row in connection.execute(query.order_by(manifests.c.created, manifests.c.id)))


def note_offer(connection: sa.Connection, sha256: str, now: float, problem: str = "") -> None:
    """Remember how an offer went; ``problem`` is empty when the master accepted it."""
    values: dict[str, object] = {"problem": problem}
    if not problem:
        values["offered"] = now
    connection.execute(sa.update(manifests).where(manifests.c.sha256 == sha256).values(**values))


def _stored(row: Any) -> StoredManifest:
    return StoredManifest(
        sha256=row.sha256,
        name=row.name,
        signed=decode(SignedManifest, row.document),
        attempt=row.attempt_id,
        created=row.created,
        offered=row.offered,
        problem=row.problem,
    )
