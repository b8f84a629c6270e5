# SPDX-License-Identifier: Apache-2.0
"""Signed manifests of green jobs, kept until the master has accepted each, and after."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from allotment.codec import decode, encode
from allotment.messages.manifest import SignedManifest
from allotment_testfarm.db.schema import manifests


@dataclass(frozen=True)
class StoredManifest:
    """A manifest that the farm has signed."""

    sha256: str
    name: str
    signed: SignedManifest
    attempt: int  # id of the attempt that first made it
    created: float
    offered: float | None  # when the master accepted it
    problem: str  # why the last offer failed


def add(connection: sa.Connection, signed: SignedManifest, attempt: int, now: float) -> bool:
    """Keep a signed manifest; False when it is known: two revisions may well give the same one."""
    sha256 = signed.manifest.sha256
    if connection.execute(sa.select(manifests.c.id).where(manifests.c.sha256 == sha256)).first() is not None:
        return False
    values = {
        "sha256": sha256,
        "name": signed.manifest.name,
        "document": encode(signed),
        "attempt_id": attempt,
        "created": now,
    }
    connection.execute(sa.insert(manifests).values(values))
    return True


def get(connection: sa.Connection, sha256: str) -> StoredManifest | None:
    """Return one manifest."""
    row = connection.execute(sa.select(manifests).where(manifests.c.sha256 == sha256)).one_or_none()
    return None if row is None else _stored(row)


def to_offer(connection: sa.Connection) -> tuple[StoredManifest, ...]:
    """Return the manifests that the master has not accepted, oldest first."""
    query = sa.select(manifests).where(manifests.c.offered.is_(None)).order_by(manifests.c.id)
    return tuple(_stored(row) for row in connection.execute(query))


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
