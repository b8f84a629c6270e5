# SPDX-License-Identifier: Apache-2.0
"""Supplies: which release is offered on which node, and what the node says of it."""

from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, tuple_, update

from allotment.messages.desired_state import ObservedSoftware, SoftwareStatus, Supply, SupplyState
from allotment.messages.service import SupplyInfo
from allotment_master.db.nodes import Node
from allotment_master.db.schema import instances, manifests, nodes, partitions, supplies
from allotment_master.db.transaction import Transaction
from allotment_master.kit.errors import ConflictError


def put(transaction: Transaction, node: Node, manifest: str, state: SupplyState, development: bool) -> bool:
    """Offer a release on a node, or take it away; one that instances on the node use is not taken away.

    Return whether this changes anything.
    """
    connection = transaction.connection
    mine = (supplies.c.node_id == node.id) & (supplies.c.manifest == manifest)
    query = select(supplies.c.state, supplies.c.development).where(mine).with_for_update()
    row = connection.execute(query).one_or_none()
    if state is SupplyState.REMOVED:
        _refuse_used(connection, node, manifest)
    if row is not None and (row.state, row.development) == (state, development):
        return False
    values = {"state": state.value, "development": development, "status": None, "error": ""}
    if row is None:
        connection.execute(insert(supplies).values(node_id=node.id, manifest=manifest, **values))
    else:
        connection.execute(update(supplies).where(mine).values(**values))
    transaction.concern(node.id)
    kind = "supply.offered" if state is SupplyState.AVAILABLE else "supply.removed"
    transaction.record(kind, f"node/{node.name}", {"manifest": manifest, "development": development})
    return True


def _refuse_used(connection: Connection, node: Node, manifest: str) -> None:
    query = (
        select(instances.c.path)
        .join_from(instances, partitions, partitions.c.instance_id == instances.c.id)
        .where(partitions.c.node_id == node.id, instances.c.manifest == manifest, instances.c.ended.is_(None))
        .order_by(instances.c.path)
        .limit(5)
    )
    if paths := list(connection.execute(query).scalars()):
        raise ConflictError(f"on {node.name} the release is used by {', '.join(paths)}", "Destroy these first")


def of_node(connection: Connection, node: int) -> tuple[Supply, ...]:
    """Return what a node is to have."""
    query = select(supplies).where(supplies.c.node_id == node).order_by(supplies.c.manifest)
    return tuple(Supply(row.manifest, SupplyState(row.state), row.development) for row in connection.execute(query))


def observe(transaction: Transaction, node: Node, seen: ObservedSoftware) -> None:
    """Note what a node says of a release; one that is gone, as was wanted, is forgotten."""
    connection = transaction.connection
    mine = (supplies.c.node_id == node.id) & (supplies.c.manifest == seen.manifest)
    query = select(supplies.c.state, supplies.c.status, supplies.c.error).where(mine).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None or (row.status, row.error) == (seen.status, seen.error):
        return
    if seen.status is SoftwareStatus.REMOVED and row.state == SupplyState.REMOVED:
        connection.execute(delete(supplies).where(mine))
        transaction.concern(node.id)
    else:
        connection.execute(update(supplies).where(mine).values(status=seen.status.value, error=seen.error))
    data = {"manifest": seen.manifest, "status": seen.status, "error": seen.error}
    transaction.record("supply.status", f"node/{node.name}", data)


def every(connection: Connection, after: tuple[str, str], limit: int) -> list[SupplyInfo]:
    """Return supplies by node and manifest, those after ``after``."""
    query = _INFO.where(tuple_(nodes.c.name, supplies.c.manifest) > tuple_(*after))
    query = query.order_by(nodes.c.name, supplies.c.manifest).limit(limit)
    return [_info(row) for row in connection.execute(query)]


def get(connection: Connection, node: int, manifest: str) -> SupplyInfo:
    """Return one supply that exists."""
    query = _INFO.where(supplies.c.node_id == node, supplies.c.manifest == manifest)
    return _info(connection.execute(query).one())


_INFO = (
    select(supplies, nodes.c.name.label("node"), manifests.c.name.label("release"))
    .join_from(supplies, nodes, nodes.c.id == supplies.c.node_id)
    .join(manifests, manifests.c.sha256 == supplies.c.manifest)
)


def _info(row: Row[Any]) -> SupplyInfo:
    status = SoftwareStatus(row.status) if row.status else None
    state = SupplyState(row.state)
    return SupplyInfo(row.node, row.manifest, row.release, state, row.development, status, row.error)
