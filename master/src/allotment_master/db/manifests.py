# SPDX-License-Identifier: Apache-2.0
"""Manifests: the releases that may be supplied and requested."""

import re

from sqlalchemy import Connection, func, insert, select, update

from allotment.codec import dumps, loads
from allotment.errors import nearest
from allotment.messages.desired_state import SupplyState
from allotment.messages.manifest import ReleaseManifest, SignedManifest
from allotment.messages.service import ReleaseInfo
from allotment_master.db.schema import manifests, supplies
from allotment_master.db.transaction import Transaction
from allotment_master.kit.errors import NotFoundError

_SHA256 = re.compile(r"[0-9a-f]{64}")


def add(transaction: Transaction, signed: SignedManifest) -> None:
    """Store a manifest, the newest of its name from now on: a revert gives one that is known, and is what counts.

    Signatures by further keys are added to a manifest that is there.
    A key's first signature stays: nodes refuse a release that has a wrong one of a key they trust, and nobody could
    take that away again.
    """
    sha256 = signed.manifest.sha256
    name = signed.manifest.name
    connection = transaction.connection
    query = select(manifests.c.body).where(manifests.c.sha256 == sha256).with_for_update()
    stored = connection.execute(query).scalar()
    if stored is None:
        values = {"sha256": sha256, "name": name, "body": dumps(signed).decode(), "added": transaction.now}
        connection.execute(insert(manifests).values(**values, position=_next_position(connection)))
        transaction.record("release.added", f"release/{name}", {"manifest": sha256, "signed": bool(signed.signatures)})
        return
    known = loads(SignedManifest, stored).signatures
    keys = {item.key for item in known}
    new = tuple(item for item in signed.signatures if item.key not in keys)
    if new:
        body = dumps(SignedManifest(signed.manifest, known + new)).decode()
        connection.execute(update(manifests).where(manifests.c.sha256 == sha256).values(body=body))
        transaction.record("release.signed", f"release/{name}", {"manifest": sha256})
    if resolve(connection, name).sha256 != sha256:
        position = _next_position(connection)
        connection.execute(update(manifests).where(manifests.c.sha256 == sha256).values(position=position))
        transaction.record("release.renewed", f"release/{name}", {"manifest": sha256})


def _next_position(connection: Connection) -> int:
    """Return the position behind all others; who loses a race for it is told by the database, and tries again."""
    last: int = connection.execute(select(func.coalesce(func.max(manifests.c.position), 0))).scalar_one()
    return last + 1


def get(connection: Connection, sha256: str) -> SignedManifest:
    """Return a manifest with its signatures."""
    body = connection.execute(select(manifests.c.body).where(manifests.c.sha256 == sha256)).scalar()
    if body is None:
        raise NotFoundError(f"there is no manifest {sha256}", "List the releases, or add it first")
    return loads(SignedManifest, body)


def resolve(connection: Connection, release: str) -> ReleaseManifest:
    """Return the manifest of a sha256, or the newest of a release's name."""
    column = manifests.c.sha256 if _SHA256.fullmatch(release) else manifests.c.name
    query = select(manifests.c.body).where(column == release).order_by(manifests.c.position.desc()).limit(1)
    body = connection.execute(query).scalar()
    if body is None:
        raise _unknown(connection, release)
    return loads(SignedManifest, body).manifest


def resolve_supplied(connection: Connection, release: str, node: int | None) -> ReleaseManifest:
    """As :func:`resolve`, but of a name the newest that is supplied, on ``node`` when given, else anywhere.

    So a release that the farm has just added changes no instance before an operator has supplied it.
    """
    if _SHA256.fullmatch(release):
        return resolve(connection, release)
    query = (
        select(manifests.c.body)
        .join_from(manifests, supplies, supplies.c.manifest == manifests.c.sha256)
        .where(manifests.c.name == release, supplies.c.state == SupplyState.AVAILABLE)
        .order_by(manifests.c.position.desc())
        .limit(1)
    )
    if node is not None:
        query = query.where(supplies.c.node_id == node)
    body = connection.execute(query).scalar()
    return resolve(connection, release) if body is None else loads(SignedManifest, body).manifest


def every(connection: Connection, before: int | None, limit: int) -> list[tuple[int, ReleaseInfo]]:
    """Return releases with their position, the newest first, those with a position below ``before``."""
    query = select(manifests).order_by(manifests.c.position.desc()).limit(limit)
    if before is not None:
        query = query.where(manifests.c.position < before)
    found = []
    for row in connection.execute(query):
        signed = loads(SignedManifest, row.body)
        kinds = tuple(sorted(signed.manifest.software_types))
        found.append((row.position, ReleaseInfo(row.name, row.sha256, row.added, bool(signed.signatures), kinds)))
    return found


def _unknown(connection: Connection, release: str) -> NotFoundError:
    names = tuple(
        connection.execute(select(manifests.c.name).distinct().order_by(manifests.c.name).limit(200)).scalars()
    )
    fix = nearest(release, names) if names else "No release was added yet: let the farm prove one, or add it"
    return NotFoundError(f"no release is called '{release}'", fix)
