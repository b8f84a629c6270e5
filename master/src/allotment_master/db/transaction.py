# SPDX-License-Identifier: Apache-2.0
"""A change of the master's state: what is written, the events that tell of it, and the nodes that it concerns."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from allotment.codec import canonical, encode
from allotment_master.db import schema
from allotment_master.kit.database import Database
from allotment_master.kit.wakeup import Wakeup

T = TypeVar("T")
EVENTS = "events"  # topic of whoever waits for any event
_ORDER_LOCK = 0x6576656E74  # advisory lock on PostgreSQL
_TRIES = 5
_RETRIED = frozenset({"40P01", "40001"})  # SQLSTATE of a deadlock and of a serialization failure


def node_topic(name: str) -> str:
    """Return the topic of who waits for a node's desired state."""
    return f"node/{name}"


@dataclass
class Transaction:
    """A write transaction; what it writes to nodes, and its events, come at its end, in the order of the commits."""

    connection: Connection
    now: float  # UTC epoch, seconds
    topics: set[str] = field(default_factory=set)
    _events: list[dict[str, Any]] = field(default_factory=list)
    _nodes: set[int] = field(default_factory=set)
    _seen: set[int] = field(default_factory=set)

    def record(self, kind: str, subject: str, data: Mapping[str, Any] | None = None) -> None:
        """Add an event; secrets in ``data`` are not kept."""
        text = canonical(encode(data or {}, redacted=True)).decode()
        self._events.append({"time": self.now, "kind": kind, "subject": subject, "data": text})

    def concern(self, node: int) -> None:
        """Say that a node's desired state is not what it was."""
        self._nodes.add(node)

    def see(self, node: int) -> None:
        """Note that a node has called."""
        self._seen.add(node)

    def finish(self) -> None:
        """Write what concerns nodes, then the events.

        All take their locks in one order, so that none waits for one that waits for it: nodes by id, then the lock
        of the events. From there to the commit it is serial on PostgreSQL: else an event with a smaller number could
        appear after a greater one was read, and its reader would never see it.
        """
        if touched := self._nodes | self._seen:
            mine = schema.nodes.c.id.in_(touched)
            locked = select(schema.nodes.c.id).where(mine).order_by(schema.nodes.c.id)
            self.connection.execute(locked.with_for_update(key_share=True)).all()
        if self._seen:
            self.connection.execute(update(schema.nodes).where(schema.nodes.c.id.in_(self._seen)).values(seen=self.now))
        if self._nodes:
            names = self.connection.execute(
                update(schema.nodes)
                .where(schema.nodes.c.id.in_(self._nodes))
                .values(sequence=schema.nodes.c.sequence + 1)
                .returning(schema.nodes.c.name)
            )
            self.topics.update(node_topic(name) for (name,) in names)
        if self._events:
            if self.connection.dialect.name == "postgresql":
                self.connection.execute(select(func.pg_advisory_xact_lock(_ORDER_LOCK)))
            self.connection.execute(insert(schema.events), self._events)
            self.topics.add(EVENTS)


def change(database: Database, wakeup: Wakeup, work: Callable[[Transaction], T], clock: Callable[[], float]) -> T:
    """Run ``work`` in a transaction, commit, wake who waits; all again when another change was in the way."""
    for attempt in range(1, _TRIES + 1):
        try:
            with database.write() as connection:
                transaction = Transaction(connection, clock())
                result = work(transaction)
                transaction.finish()
        except (IntegrityError, OperationalError) as error:
            state = getattr(error.orig, "sqlstate", None)
            if attempt == _TRIES or (isinstance(error, OperationalError) and state not in _RETRIED):
                raise
            time.sleep(0.01 * attempt)
            continue
        wakeup.touch(transaction.topics)
        return result
    raise AssertionError("the loop above returns or raises")
