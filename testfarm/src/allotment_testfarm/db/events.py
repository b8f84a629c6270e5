# SPDX-License-Identifier: Apache-2.0
"""Events: each change is recorded in the transaction that makes it."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import sqlalchemy as sa

from allotment.codec import encode
from allotment.messages.event import Event
from allotment_testfarm.db.schema import events

_INSERT: Final = sa.insert(events)  # made once: each change records something


def record(
    connection: sa.Connection, now: float, kind: str, subject: str, data: Mapping[str, Any] | None = None
) -> None:
    """Add an event, such as ``job.created`` of ``job/12``; secrets in ``data`` are stored redacted."""
    connection.execute(_INSERT, _values(now, kind, subject, data or {}))


def record_all(connection: sa.Connection, now: float, kind: str, told: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Add an event of each subject, with its data, at once."""
    if values := [_values(now, kind, subject, data) for subject, data in told]:
        connection.execute(_INSERT, values)


def after(connection: sa.Connection, since: int, limit: int = 200) -> tuple[Event, ...]:
    """Return the events with an id above ``since``, oldest first."""
    rows = connection.execute(sa.select(events).where(events.c.id > since).order_by(events.c.id).limit(limit))
    return tuple(_event(row) for row in rows)


def of_subject(connection: sa.Connection, subject: str, limit: int = 200) -> tuple[Event, ...]:
    """Return the first events of one subject, oldest first."""
    rows = connection.execute(sa.select(events).where(events.c.subject == subject).order_by(events.c.id).limit(limit))
    return tuple(_event(row) for row in rows)


def newest(connection: sa.Connection) -> int:
    """Return the highest event id, 0 when there is none: equal means that nothing changed."""
    return connection.execute(sa.select(sa.func.max(events.c.id))).scalar() or 0


def _event(row: Any) -> Event:
    return Event(id=row.id, time=row.time, kind=row.kind, subject=row.subject, data=row.data)


def _values(now: float, kind: str, subject: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {"time": now, "kind": kind, "subject": subject, "data": encode(data, redacted=True)}
