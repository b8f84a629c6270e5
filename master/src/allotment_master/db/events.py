# SPDX-License-Identifier: Apache-2.0
"""Events: history, audit and live updates."""

import json
from typing import Any

from sqlalchemy import Connection, Row, func, select

from allotment.messages.event import Event
from allotment_master.db.schema import events


def after(connection: Connection, since: int, limit: int, subject: str | None = None) -> list[Event]:
    """Return the events with an id above ``since``, oldest first; of one subject when given."""
    query = select(events).where(events.c.id > since).order_by(events.c.id).limit(limit)
    if subject is not None:
        query = query.where(events.c.subject == subject)
    return [_event(row) for row in connection.execute(query)]


def newest(connection: Connection, limit: int) -> list[Event]:
    """Return the last events, newest first."""
    query = select(events).order_by(events.c.id.desc()).limit(limit)
    return [_event(row) for row in connection.execute(query)]


def last_id(connection: Connection) -> int:
    """Return the id of the last event, 0 when there is none."""
    return connection.execute(select(func.max(events.c.id))).scalar() or 0


def _event(row: Row[Any]) -> Event:
    return Event(row.id, row.time, row.kind, row.subject, json.loads(row.data))
