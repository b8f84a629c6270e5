# SPDX-License-Identifier: Apache-2.0
"""Test nodes: who has said hello, how they are, what they work on."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from allotment_testfarm.db import inputs
from allotment_testfarm.db.schema import attempts, jobs, nodes

SILENCE = 60.0  # seconds without a word after which a test node counts as not connected


@dataclass(frozen=True)
class CurrentJob:
    """A job that a test node works on."""

    id: int
    release: str
    attempt: int


@dataclass(frozen=True)
class TestNode:
    """A test node as the engine last heard of it."""

    __test__ = False  # not a class of tests

    name: str
    platform: str
    slots: int
    version: str
    first_seen: float
    last_seen: float
    load: float | None
    memory_free: int | None  # bytes
    disk_free: int | None  # bytes
    refuses: str  # why it takes no job now; "": it does
    is_connected: bool
    current: tuple[CurrentJob, ...] = ()


def hello(
    connection: sa.Connection,
    name: str,
    platform: str,
    slots: int,
    version: str,
    now: float,
    environment: Mapping[str, str] | None = None,
) -> bool:
    """Remember a test node; True when it is new. Without an environment nothing that it runs proves anything else."""
    stored = inputs.put(connection, {"platform": platform, **environment}) if environment else ""
    values = {"platform": platform, "slots": slots, "version": version, "last_seen": now, "environment": stored}
    if connection.execute(sa.update(nodes).where(nodes.c.name == name).values(**values)).rowcount:
        return False
    connection.execute(sa.insert(nodes).values(name=name, first_seen=now, **values))
    return True


@dataclass(frozen=True)
class Asker:
    """Who a job is to suit."""

    name: str
    platform: str
    environment: str  # sha256 of inputs; "": it has not said


def seen(
    connection: sa.Connection,
    name: str,
    now: float,
    load: float | None = None,
    memory_free: int | None = None,
    disk_free: int | None = None,
    refuses: str = "",
) -> Asker | None:
    """Note that a test node was heard, and how it is where it says so; None when it has never said hello."""
    figures = {"load": load, "memory_free": memory_free, "disk_free": disk_free}
    values: dict[str, object] = {key: value for key, value in figures.items() if value is not None}
    values |= {"last_seen": now, "refuses": refuses[:200]}
    heard = sa.update(nodes).where(nodes.c.name == name).values(**values)
    row = connection.execute(heard.returning(nodes.c.name, nodes.c.platform, nodes.c.environment)).one_or_none()
    return None if row is None else Asker(**row._mapping)


def all_nodes(connection: sa.Connection, now: float) -> tuple[TestNode, ...]:
    """Return every test node by name, with the jobs that it works on."""
    working = defaultdict(list)
    query = (
        sa.select(attempts.c.node, attempts.c.number, jobs.c.id, jobs.c.release)
        .join(jobs, jobs.c.id == attempts.c.job_id)
        .where(attempts.c.ended.is_(None))
        .order_by(attempts.c.id)
    )
    for row in connection.execute(query):
        working[row.node].append(CurrentJob(id=row.id, release=row.release, attempt=row.number))
    columns = [column for column in nodes.c if column.name not in ("id", "environment")]
    return tuple(
        TestNode(**row._mapping, is_connected=now - row.last_seen < SILENCE, current=tuple(working.get(row.name, ())))
        for row in connection.execute(sa.select(*columns).order_by(nodes.c.name))
    )
