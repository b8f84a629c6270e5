# SPDX-License-Identifier: Apache-2.0
"""Places: which partition an instance gets, why none, and the document that its node works from."""

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, exists, func, select, update

from allotment.codec import dumps, loads
from allotment.errors import nearest
from allotment.hookspecs import AllocationTerm
from allotment.messages.desired_state import DesiredState, NodeDesiredState, SupplyState
from allotment_master.db import supplies
from allotment_master.db.instances import Instance
from allotment_master.db.nodes import Node
from allotment_master.db.schema import labels, manifests, nodes, partitions
from allotment_master.db.schema import supplies as supply_rows
from allotment_master.db.transaction import Transaction
from allotment_master.kit.errors import InvalidError

_SHOWN = 5  # nodes that an explanation names


class Terms:
    """The allocation terms that plugins contribute; each compiles to a condition that an index answers."""

    def __init__(self, terms: Sequence[AllocationTerm]) -> None:
        self._terms = {term.key: term for term in terms}

    def check(self, sla: Mapping[str, str]) -> None:
        """Refuse a key that nobody lists."""
        for key in sla:
            self._attribute(key)

    def conditions(self, sla: Mapping[str, str]) -> dict[str, ColumnElement[bool]]:
        """Return what must hold of the node, by the words that say so."""
        return {f"{key}={value}": _condition(self._attribute(key), value) for key, value in sorted(sla.items())}

    def _attribute(self, key: str) -> str:
        if key in self._terms:
            return self._terms[key].attribute
        family, separator, name = key.partition(":")
        pattern = self._terms.get(f"{family}:*") if separator and name else None
        if pattern is None:
            raise InvalidError(f"'{key}' is not a constraint", nearest(key, tuple(self._terms)))
        return pattern.attribute.replace("*", name)


def _condition(attribute: str, value: str) -> ColumnElement[bool]:
    if attribute == "name":
        return nodes.c.name == value
    _, _, key = attribute.partition(":")
    return exists().where(labels.c.node_id == nodes.c.id, labels.c.key == key, labels.c.value == value)


def take(transaction: Transaction, terms: Terms, instance: Instance) -> bool:
    """Give an instance a free partition on a node that has its release and meets its constraints, if there is one.

    Nodes fill up side by side. Two that ask at once never get the same: the chosen row is locked, on PostgreSQL
    passing over those that others have just chosen.
    """
    connection = transaction.connection
    free = (
        select(partitions.c.id, partitions.c.node_id, nodes.c.name, partitions.c.name.label("partition"))
        .join_from(partitions, nodes, nodes.c.id == partitions.c.node_id)
        .join(supply_rows, supply_rows.c.node_id == nodes.c.id)
        .where(
            partitions.c.instance_id.is_(None),
            supply_rows.c.manifest == instance.wanted.manifest,
            supply_rows.c.state == SupplyState.AVAILABLE,
            *terms.conditions(instance.wanted.sla).values(),
        )
        .order_by(partitions.c.number, partitions.c.node_id)
        .limit(1)
        .with_for_update(of=partitions, skip_locked=True)
    )
    row = connection.execute(free).one_or_none()
    if row is None:
        return False
    connection.execute(update(partitions).where(partitions.c.id == row.id).values(instance_id=instance.id))
    data = {"node": row.name, "partition": row.partition, "instance": instance.identifier}
    transaction.record("instance.placed", f"instance/{instance.path}", data)
    return True


def release(transaction: Transaction, instance: Instance) -> None:
    """Make an instance's partition free."""
    if instance.place is not None:
        mine = partitions.c.id == instance.place.partition_id
        transaction.connection.execute(update(partitions).where(mine).values(instance_id=None, document=None))
        transaction.concern(instance.place.node_id)


def suits(connection: Connection, terms: Terms, node: int, sla: Mapping[str, str]) -> str:
    """Return the first constraint that a node does not meet, an empty text when it meets all."""
    for words, condition in terms.conditions(sla).items():
        if connection.execute(select(nodes.c.id).where(nodes.c.id == node, condition)).one_or_none() is None:
            return words
    return ""


def has_supply(connection: Connection, node: int, manifest: str) -> bool:
    """Whether a release is offered on a node."""
    query = select(supply_rows.c.state).where(supply_rows.c.node_id == node, supply_rows.c.manifest == manifest)
    return connection.execute(query).scalar() == SupplyState.AVAILABLE


def why_none(connection: Connection, terms: Terms, manifest: str, sla: Mapping[str, str]) -> str:
    """Return why no node can take an instance: what each lacks, in one sentence."""
    name = connection.execute(select(manifests.c.name).where(manifests.c.sha256 == manifest)).scalar()
    total = connection.execute(select(func.count()).select_from(nodes)).scalar() or 0
    if total == 0:
        return "There is no place: no node is registered."
    is_supplied = exists().where(
        supply_rows.c.node_id == nodes.c.id,
        supply_rows.c.manifest == manifest,
        supply_rows.c.state == SupplyState.AVAILABLE,
    )
    checks = {**terms.conditions(sla), "supply": is_supplied}
    columns = [condition.label(f"c{number}") for number, condition in enumerate(checks.values())]
    # Nodes that fail least come first: they are what the reader can mend.
    rows = connection.execute(
        select(nodes.c.name, *columns).order_by(*(column.desc() for column in columns), nodes.c.name).limit(_SHOWN)
    )
    reasons = []
    for row in rows:
        failed = [words for words, holds in zip(checks, row[1:], strict=True) if not holds]
        reasons.append(f"{row.name}: {_reason(failed, str(name))}")
    more = f" and {total - _SHOWN} more" if total > _SHOWN else ""
    return f"There is no place: {'; '.join(reasons)}{more}."


def _reason(failed: list[str], release: str) -> str:
    if not failed:
        return "all its partitions are taken"
    words = [f"release {release} is not supplied" if item == "supply" else f"is not {item}" for item in failed]
    return ", ".join(words)


def write_document(transaction: Transaction, instance: Instance, document: DesiredState) -> None:
    """Give a place its document if it says anything new: a greater generation makes the node look at it."""
    place = instance.place
    if place is None:
        return
    if place.document is not None and loads(DesiredState, place.document) == _at(document, place.generation):
        return
    new = _at(document, place.generation + 1)
    transaction.connection.execute(
        update(partitions)
        .where(partitions.c.id == place.partition_id)
        .values(generation=new.generation, document=dumps(new).decode())
    )
    transaction.concern(place.node_id)


def outrun(transaction: Transaction, instance: Instance, generation: int) -> None:
    """Continue above a generation that a node has seen and this database has not: it was restored from a backup."""
    if instance.place is not None:
        mine = partitions.c.id == instance.place.partition_id
        transaction.connection.execute(update(partitions).where(mine).values(generation=generation, document=None))


def renew(transaction: Transaction, instance: Instance) -> None:
    """Have the document written as a new generation though it says nothing new: its node reports again."""
    if instance.place is not None:
        outrun(transaction, instance, instance.place.generation)


def desired(connection: Connection, node: Node) -> NodeDesiredState:
    """Return all that is wanted of a node."""
    query = (
        select(partitions.c.document)
        .where(partitions.c.node_id == node.id, partitions.c.document.is_not(None))
        .order_by(partitions.c.number)
    )
    documents = [loads(DesiredState, text) for text in connection.execute(query).scalars()]
    return NodeDesiredState(node.sequence, supplies.of_node(connection, node.id), tuple(documents))


def _at(document: DesiredState, generation: int) -> DesiredState:
    return DesiredState(**{**vars(document), "generation": generation})
