# SPDX-License-Identifier: Apache-2.0
"""Nodes and their partitions."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update

from allotment.messages.service import NodeInfo, NodeRegistration
from allotment_master.db.schema import labels, nodes, partitions
from allotment_master.db.transaction import Transaction
from allotment_master.kit.errors import ConflictError, NotFoundError


@dataclass(frozen=True)
class Node:
    """A node's row."""

    id: int
    name: str
    sequence: int
    seen: float | None


def by_name(connection: Connection, name: str) -> Node:
    """Return a node; one that does not exist is an error."""
    found = find(connection, name)
    if found is None:
        raise NotFoundError(f"no node is called '{name}'", "List them with 'allot master nodes'")
    return found


def find(connection: Connection, name: str) -> Node | None:
    """Return a node, None when there is none of that name."""
    query = select(nodes.c.id, nodes.c.name, nodes.c.sequence, nodes.c.seen).where(nodes.c.name == name)
    row = connection.execute(query).one_or_none()
    return None if row is None else Node(row.id, row.name, row.sequence, row.seen)


def register(transaction: Transaction, wanted: NodeRegistration) -> Node:
    """Make a node known, or change what is known of it; partitions that hold an instance are not taken away."""
    connection = transaction.connection
    node = find(connection, wanted.name)
    if node is None:
        values = {"name": wanted.name, "platform": wanted.platform, "created": transaction.now, "sequence": 0}
        connection.execute(insert(nodes).values(**values))
        node = by_name(connection, wanted.name)
    else:
        connection.execute(update(nodes).where(nodes.c.id == node.id).values(platform=wanted.platform))
        connection.execute(delete(labels).where(labels.c.node_id == node.id))
    if wanted.labels:
        rows = [{"node_id": node.id, "key": key, "value": value} for key, value in wanted.labels.items()]
        connection.execute(insert(labels), rows)
    _resize(connection, node.id, wanted.partitions)
    transaction.concern(node.id)
    transaction.record(
        "node.registered",
        f"node/{wanted.name}",
        {"platform": wanted.platform, "partitions": wanted.partitions, "labels": dict(wanted.labels)},
    )
    return node


def _resize(connection: Connection, node: int, count: int) -> None:
    mine = partitions.c.node_id == node
    surplus = mine & (partitions.c.number >= count)
    used = connection.execute(
        select(partitions.c.name).where(surplus, partitions.c.instance_id.is_not(None)).order_by(partitions.c.number)
    ).scalars()
    if names := list(used):
        raise ConflictError(
            f"{', '.join(names)} hold instances", f"Destroy these first, or keep more than {count} partitions"
        )
    connection.execute(delete(partitions).where(surplus))
    have = set(connection.execute(select(partitions.c.number).where(mine)).scalars())
    rows = [
        {"node_id": node, "number": number, "name": f"part{number}", "generation": 0}
        for number in range(count)
        if number not in have
    ]
    if rows:
        connection.execute(insert(partitions), rows)


def every(connection: Connection, after: str, limit: int) -> list[NodeInfo]:
    """Return nodes by name, those after ``after``."""
    count = func.count(partitions.c.id)
    query = (
        select(nodes, count.label("partitions"), (count - func.count(partitions.c.instance_id)).label("free"))
        .join_from(nodes, partitions, partitions.c.node_id == nodes.c.id, isouter=True)
        .where(nodes.c.name > after)
        .group_by(nodes.c.id)
        .order_by(nodes.c.name)
        .limit(limit)
    )
    rows = list(connection.execute(query))
    marks = _labels(connection, [row.id for row in rows])
    return [
        NodeInfo(row.name, row.platform, row.partitions, row.free, marks.get(row.id, {}), row.seen, row.sequence)
        for row in rows
    ]


def _labels(connection: Connection, ids: list[int]) -> Mapping[int, Mapping[str, str]]:
    found: dict[int, dict[str, str]] = {}
    query = select(labels).where(labels.c.node_id.in_(ids)).order_by(labels.c.key)
    for row in connection.execute(query):
        found.setdefault(row.node_id, {})[row.key] = row.value
    return found
