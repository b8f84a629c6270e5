# SPDX-License-Identifier: Apache-2.0
"""Duties: work that only one of several engines does at a time, such as polling a repository."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from allotment_testfarm.db.schema import duties


def take(connection: sa.Connection, name: str, holder: str, now: float, seconds: float) -> bool:
    """Take or keep a duty for some seconds; False while another engine holds it.

    Who holds it for more than twice as long had a clock that was ahead: clocks of two machines differ by less.
    """
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    values = {"holder": holder, "expires": now + seconds}
    free = sa.or_(duties.c.holder == holder, duties.c.expires <= now, duties.c.expires > now + 2 * seconds)
    taking = (
        insert(duties)
        .values(name=name, **values)
        .on_conflict_do_update(index_elements=[duties.c.name], set_=values, where=free)
    )
    return connection.execute(taking.returning(duties.c.name)).first() is not None


def release(connection: sa.Connection, holder: str) -> None:
    """Let others have all duties of an engine that stops."""
    connection.execute(sa.delete(duties).where(duties.c.holder == holder))
