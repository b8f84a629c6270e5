# SPDX-License-Identifier: Apache-2.0
"""Instances: what is wanted, where it is, and what its node said of it. A root and its children are a *tree*."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select, update

from allotment.codec import Json, canonical, decode, encode
from allotment.messages.desired_state import InstanceStatus, ObservedPromise
from allotment.messages.instance import InstanceState
from allotment.messages.service import InstanceInfo
from allotment.secret import wrap
from allotment_master.db.schema import instances, nodes, partitions
from allotment_master.db.transaction import Transaction
from allotment_master.kit.errors import NotFoundError


@dataclass(frozen=True)
class Wanted:
    """What is asked of an instance, checked."""

    release: str
    manifest: str  # sha256
    software_type: str
    state: InstanceState
    parameters: Mapping[str, Json]
    sla: Mapping[str, str]


@dataclass(frozen=True)
class Place:
    """A partition that an instance has."""

    partition_id: int
    partition: str
    node_id: int
    node: str
    generation: int
    document: str | None


@dataclass(frozen=True)
class Instance:
    """An instance's row, with its place."""

    id: int
    path: str
    name: str
    parent_id: int | None
    root_id: int  # its own when it is a root
    wanted: Wanted
    place: Place | None
    ended: float | None
    no_place: str
    status: InstanceStatus | None
    observed_generation: int
    error: str
    refused_children: str
    published: Mapping[str, Json] | None
    promises: tuple[ObservedPromise, ...]

    @property
    def identifier(self) -> str:
        """What nodes and people call it: never used twice."""
        return f"inst-{self.id}"

    @property
    def current_status(self) -> InstanceStatus:
        """What the node said, if it said it of what is wanted now."""
        if self.ended is not None:
            return InstanceStatus.DESTROYED
        if self.place is None or self.status is None:
            return InstanceStatus.REQUESTED
        return self.status if self.observed_generation == self.place.generation else InstanceStatus.PROCESSING

    @property
    def info(self) -> InstanceInfo:
        """What the API says of it."""
        root, _, _ = self.path.partition("/")
        parent, _, _ = self.path.rpartition("/")
        return InstanceInfo(
            name=self.path,
            instance=self.identifier,
            tree=root,
            parent=parent or None,
            release=self.wanted.release,
            manifest=self.wanted.manifest,
            software_type=self.wanted.software_type,
            state=self.wanted.state,
            status=self.current_status,
            node=self.place.node if self.place else None,
            partition=self.place.partition if self.place else None,
            published=self.published or {},
            promises=self.promises,
            error=" ".join(filter(None, (self.no_place, self.error, self.refused_children))),
            generation=self.place.generation if self.place else 0,
        )


def _select() -> Select[Any]:
    return (
        select(
            instances,
            partitions.c.id.label("partition_id"),
            partitions.c.name.label("partition"),
            partitions.c.node_id,
            partitions.c.generation,
            partitions.c.document,
            nodes.c.name.label("node"),
        )
        .join_from(instances, partitions, partitions.c.instance_id == instances.c.id, isouter=True)
        .join(nodes, nodes.c.id == partitions.c.node_id, isouter=True)
    )


def living(connection: Connection, path: str) -> Instance | None:
    """Return the instance of a name that is not gone."""
    row = connection.execute(_select().where(instances.c.path == path, instances.c.ended.is_(None))).one_or_none()
    return None if row is None else _instance(row)


def named(connection: Connection, path: str) -> Instance:
    """Return the instance of a name: the one that lives, else the last one that did."""
    query = _select().where(instances.c.path == path).order_by(instances.c.ended.is_not(None), instances.c.id.desc())
    row = connection.execute(query.limit(1)).one_or_none()
    if row is None:
        raise NotFoundError(f"no instance is called '{path}'", "List them with 'allot service list'")
    return _instance(row)


def tree(connection: Connection, root: int) -> list[Instance]:
    """Return what lives of a tree, parents before their children."""
    mine = (instances.c.id == root) | (instances.c.root_id == root)
    query = _select().where(mine, instances.c.ended.is_(None)).order_by(instances.c.id)
    return [_instance(row) for row in connection.execute(query)]


def every(connection: Connection, after: int, limit: int) -> list[Instance]:
    """Return the instances that are not gone, the oldest first, those with an id above ``after``."""
    query = _select().where(instances.c.id > after, instances.c.ended.is_(None)).order_by(instances.c.id).limit(limit)
    return [_instance(row) for row in connection.execute(query)]


def on_node(connection: Connection, node: int, identifiers: Iterable[int]) -> dict[int, Instance]:
    """Return, by id, those of the given instances that have a place on a node."""
    query = _select().where(partitions.c.node_id == node, instances.c.id.in_(list(identifiers)))
    return {row.id: _instance(row) for row in connection.execute(query)}


def lock_roots(transaction: Transaction, roots: Iterable[int]) -> None:
    """Wait for other changes of these trees and keep new ones out until the end of the transaction."""
    query = select(instances.c.id).where(instances.c.id.in_(sorted(set(roots)))).order_by(instances.c.id)
    transaction.connection.execute(query.with_for_update()).all()


def homeless_trees(transaction: Transaction, limit: int) -> list[int]:
    """Lock and return the roots of some trees in which an instance waits for a place, but for those that others change.

    Which ones is left to chance where there are more than ``limit``: none is kept waiting by others that find no place.
    """
    waiting = (
        select(func.coalesce(instances.c.root_id, instances.c.id))
        .join_from(instances, partitions, partitions.c.instance_id == instances.c.id, isouter=True)
        .where(partitions.c.id.is_(None), instances.c.ended.is_(None), instances.c.no_place != "")
    )
    query = select(instances.c.id).where(instances.c.id.in_(waiting)).order_by(func.random()).limit(limit)
    return sorted(transaction.connection.execute(query.with_for_update(skip_locked=True)).scalars())


def refusing_trees(connection: Connection) -> list[int]:
    """Return the roots of the trees in which an instance asks for children that were refused."""
    root = func.coalesce(instances.c.root_id, instances.c.id)
    query = select(root).distinct().where(instances.c.refused_children != "", instances.c.ended.is_(None))
    return sorted(connection.execute(query).scalars())


def insert_new(
    transaction: Transaction, path: str, wanted: Wanted, parent: Instance | None = None, no_place: str = "new"
) -> Instance:
    """Add an instance that has no place yet."""
    values = {
        "path": path,
        "name": path.rpartition("/")[2],
        "parent_id": parent.id if parent else None,
        "root_id": parent.root_id if parent else None,
        "created": transaction.now,
        "no_place": no_place,
        "observed_generation": 0,
        "error": "",
        "refused_children": "",
        "promises": "[]",
        **_columns(wanted),
    }
    transaction.connection.execute(insert(instances).values(**values))
    found = living(transaction.connection, path)
    if found is None:
        raise LookupError(path)
    transaction.record("instance.requested", f"instance/{path}", {"instance": found.identifier, **_shown(wanted)})
    return found


def change_wanted(transaction: Transaction, instance: Instance, wanted: Wanted) -> bool:
    """Note what is wanted now; return whether it differs from before."""
    if wanted == instance.wanted:
        return False
    _update(transaction, instance.id, **_columns(wanted))
    before, after = _shown(instance.wanted), _shown(wanted)
    changed = {key: value for key, value in after.items() if before[key] != value}
    if wanted.parameters != instance.wanted.parameters:
        changed["parameters"] = _differing(wanted.parameters, instance.wanted.parameters)
    transaction.record("instance.changed", f"instance/{instance.path}", changed)
    return True


def _differing(new: Mapping[str, Json], old: Mapping[str, Json]) -> list[str]:
    """Return the names of parameters that differ: events keep no values, which may be confidential unmarked."""
    return sorted(key for key in {*new, *old} if key not in new or key not in old or new[key] != old[key])


def set_no_place(transaction: Transaction, instance: Instance, reason: str) -> None:
    """Note why an instance has no place."""
    if reason != instance.no_place:
        _update(transaction, instance.id, no_place=reason)
        if reason:
            transaction.record("instance.homeless", f"instance/{instance.path}", {"reason": reason})


def set_observed(transaction: Transaction, instance: Instance, **values: Any) -> None:
    """Note what a node said: status, observed_generation, error, refused_children, published, promises."""
    columns = {
        key: canonical(encode(value)).decode() if key in ("published", "promises") else value
        for key, value in values.items()
    }
    _update(transaction, instance.id, **columns)


def end(transaction: Transaction, instance: Instance) -> None:
    """Note that an instance is gone; its name can be used again."""
    _update(transaction, instance.id, ended=transaction.now, status=InstanceStatus.DESTROYED.value, no_place="")
    transaction.record("instance.destroyed", f"instance/{instance.path}", {"instance": instance.identifier})


def _update(transaction: Transaction, identifier: int, **values: Any) -> None:
    transaction.connection.execute(update(instances).where(instances.c.id == identifier).values(**values))


def _columns(wanted: Wanted) -> dict[str, Any]:
    return {
        **_shown(wanted),
        "parameters": canonical(encode(wanted.parameters)).decode(),
        "sla": canonical(dict(wanted.sla)).decode(),
    }


def _shown(wanted: Wanted) -> dict[str, Any]:
    return {
        "release": wanted.release,
        "manifest": wanted.manifest,
        "software_type": wanted.software_type,
        "state": wanted.state.value,
    }


def _instance(row: Row[Any]) -> Instance:
    place = None
    if row.partition_id is not None:
        place = Place(row.partition_id, row.partition, row.node_id, row.node, row.generation, row.document)
    return Instance(
        id=row.id,
        path=row.path,
        name=row.name,
        parent_id=row.parent_id,
        root_id=row.root_id or row.id,
        wanted=Wanted(
            row.release,
            row.manifest,
            row.software_type,
            InstanceState(row.state),
            wrap(json.loads(row.parameters)),
            json.loads(row.sla),
        ),
        place=place,
        ended=row.ended,
        no_place=row.no_place,
        status=InstanceStatus(row.status) if row.status else None,
        observed_generation=row.observed_generation,
        error=row.error,
        refused_children=row.refused_children,
        published=wrap(json.loads(row.published)) if row.published is not None else None,
        promises=decode(tuple[ObservedPromise, ...], json.loads(row.promises)),
    )
