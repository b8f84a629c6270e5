# SPDX-License-Identifier: Apache-2.0
"""Jobs that wait: what the engine's queue knows of each, and why one waits, told from the database alone."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from allotment.messages.job import JobState
from allotment_testfarm.db import events, nodes
from allotment_testfarm.db.nodes import TestNode
from allotment_testfarm.db.schema import attempts, jobs
from allotment_testfarm.db.schema import events as events_table
from allotment_testfarm.db.schema import nodes as nodes_table

MANY = 1000  # jobs that go before another are not counted further
_NEWS = ("job.created", "job.retried", "job.given-back", "attempt.ended")
_BATCH = 5000  # ids in one query: databases limit its values


@dataclass(frozen=True, slots=True)
class WaitingJob:
    """What decides when a waiting job is given to whom."""

    id: int
    project: int
    release: str
    kind: str
    platform: str
    priority: int  # the highest goes first
    ready: float  # it is not given away before
    avoid: str  # test node that could not do its part ...
    avoid_until: float  # ... and does not get it before
    files: str | None  # sha256 of the inputs that the commit holds; None: they can't be told
    is_fresh: bool  # it is run, whatever other jobs show


_COLUMNS = (
    *(jobs.c.id, jobs.c.project_id, jobs.c.release, jobs.c.kind, jobs.c.platform, jobs.c.priority),
    *(jobs.c.ready, jobs.c.avoid, jobs.c.avoid_until, jobs.c.files, jobs.c.is_fresh),
)


def all_ids(connection: sa.Connection, /) -> set[int]:
    """Return the ids of all jobs that wait."""
    return set(connection.execute(sa.select(jobs.c.id).where(jobs.c.state == JobState.WAITING)).scalars())


def load(connection: sa.Connection, ids: Collection[int]) -> tuple[WaitingJob, ...]:
    """Return those of some jobs that wait."""
    wanted = sorted(ids)
    query = sa.select(*_COLUMNS).where(jobs.c.state == JobState.WAITING)
    found = []
    for first in range(0, len(wanted), _BATCH):
        rows = connection.execute(query.where(jobs.c.id.in_(wanted[first : first + _BATCH])))
        found += [WaitingJob(*row) for row in rows]
    return tuple(found)


@dataclass(frozen=True)
class News:
    """What the queue has to hear of what was recorded since it last looked."""

    newest: int  # id of the last event
    waiting: tuple[WaitingJob, ...]  # jobs that wait, and may not have done so then
    ended: tuple[int, ...]  # jobs of which an attempt has ended


def news(connection: sa.Connection, since: int) -> News:
    """Return what the events after ``since`` say: a hint, because on PostgreSQL an older one may be seen later."""
    newest = events.newest(connection)
    query = sa.select(events_table.c.kind, events_table.c.subject).where(
        events_table.c.id > since, events_table.c.id <= newest, events_table.c.kind.in_(_NEWS)
    )
    told = (
        [(row.kind, int(row.subject.removeprefix("job/"))) for row in connection.execute(query)]
        if newest > since
        else []
    )
    ended = tuple(job for kind, job in told if kind == "attempt.ended")
    return News(newest, load(connection, {job for _, job in told}), ended)


@dataclass(frozen=True)
class Refusal:
    """A test node that would fit and takes no job now."""

    node: str
    reason: str


@dataclass(frozen=True)
class Why:
    """Why a job waits: what people read first, and the facts that it is made of."""

    text: str
    ready: float | None = None  # it is not tried again before, after an attempt that said nothing
    after: str = ""  # what that attempt met
    held_by: int | None = None  # a running job with the same inputs, which may prove this one
    fitting: int = 0  # connected test nodes of its platform
    busy: int = 0  # of these
    refusals: tuple[Refusal, ...] = ()  # of these
    before: int = 0  # waiting jobs that go first, at most MANY


def why(connection: sa.Connection, job: int, now: float) -> Why:
    """Return why a waiting job has not begun; of one that does not wait, the text says so."""
    row = connection.execute(sa.select(jobs).where(jobs.c.id == job)).one_or_none()
    if row is None or row.state != JobState.WAITING:
        return Why("It does not wait.")
    if row.ready > now:
        after = _last_reason(connection, job)
        told = f" after attempt {after[0]}: {after[1]}" if after else ""
        seconds = max(1, round(row.ready - now))
        return Why(f"It is tried again in {seconds} s,{told}.", ready=row.ready, after=after[1] if after else "")
    connected = [node for node in nodes.all_nodes(connection, now) if node.is_connected]
    fitting = [node for node in connected if row.platform in ("any", node.platform)]
    refusals = tuple(Refusal(node.name, node.refuses) for node in fitting if node.refuses)
    able = [node for node in fitting if not node.refuses]
    free = [node for node in able if len(node.current) < node.slots]
    held_by = _held_by(connection, row, free)
    before = _count_before(connection, row)
    facts: dict[str, Any] = {"held_by": held_by, "fitting": len(fitting), "busy": len(able) - len(free)}
    facts |= {"refusals": refusals, "before": before}
    if not connected:
        return Why("No test node is connected.", **facts)
    if not fitting:
        others = ", ".join(sorted({node.platform for node in connected}))
        return Why(f"No connected test node has the platform {row.platform}, only {others}.", **facts)
    if not able:
        reasons = "; ".join(f"{refusal.node}: {refusal.reason}" for refusal in refusals)
        return Why(f"No test node takes jobs now. {reasons}.", **facts)
    return Why(_among_able(row, able, free, held_by, before, now), **facts)


def _among_able(
    row: Any, able: list[TestNode], free: list[TestNode], held_by: int | None, before: int, now: float
) -> str:
    """Return the text for a job that test nodes could take."""
    if held_by is not None:
        return f"Job {held_by} runs with the same inputs: this one ends with it, or runs if that one shows nothing."
    if not free:
        which = "The one test node that fits is" if len(able) == 1 else f"All {len(able)} test nodes that fit are"
        return f"{which} busy. {_before(before)}"
    if [node.name for node in free] == [row.avoid] and row.avoid_until > now:
        seconds = max(1, round(row.avoid_until - now))
        return f"{row.avoid} could not do its part, and is passed over for {seconds} s more."
    return f"A test node is free: it should start at once. {_before(before)}"


def _before(count: int) -> str:
    if count == 0:
        return "It is the next."
    if count == 1:
        return "1 job goes before it."
    return f"{count if count < MANY else f'{MANY} or more'} jobs go before it."


def _last_reason(connection: sa.Connection, job: int) -> tuple[int, str] | None:
    """Return the number of a job's newest attempt, and how that ended."""
    query = sa.select(attempts).where(attempts.c.job_id == job).order_by(attempts.c.number.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else (row.number, row.reason or row.outcome)


def _held_by(connection: sa.Connection, row: Any, free: list[TestNode]) -> int | None:
    """Return a running job of the same inputs when no free test node has another environment than such jobs."""
    if row.files is None or row.is_fresh or not free:
        return None
    same = (jobs.c[name] == getattr(row, name) for name in ("project_id", "release", "kind", "platform", "files"))
    running = sa.select(jobs.c.environment, jobs.c.id).where(jobs.c.state == JobState.LEASED, *same)
    by_environment = {item.environment: item.id for item in connection.execute(running)}
    names = [node.name for node in free]
    found = sa.select(nodes_table.c.environment).where(nodes_table.c.name.in_(names))
    environments = list(connection.execute(found).scalars())
    if not all(environment and environment in by_environment for environment in environments):
        return None
    return by_environment[environments[0]]


def _count_before(connection: sa.Connection, row: Any) -> int:
    """Count the waiting jobs of a platform that go before one, up to MANY; reads no others."""
    same = () if row.platform == "any" else (jobs.c.platform.in_([row.platform, "any"]),)
    higher, older = (jobs.c.priority > row.priority,), (jobs.c.priority == row.priority, jobs.c.id < row.id)
    count = 0
    for ahead in (higher, older):
        found = sa.select(jobs.c.id).where(jobs.c.state == JobState.WAITING, *ahead, *same).limit(MANY)
        count += connection.execute(sa.select(sa.func.count()).select_from(found.subquery())).scalar_one()
    return min(count, MANY)
