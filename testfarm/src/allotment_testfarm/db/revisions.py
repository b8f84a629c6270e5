# SPDX-License-Identifier: Apache-2.0
"""Revisions: the commits that the farm has seen as the head of a project's branch."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from allotment_testfarm.db.schema import projects, revisions
from allotment_testfarm.git import Commit


@dataclass(frozen=True)
class Revision:
    """A commit of a project."""

    id: int
    project: str
    commit: str  # full hash
    tree: str  # hash of its files
    author: str
    time: float  # the commit's
    subject: str
    position: int  # grows in the order in which the farm saw them
    seen: float

    @property
    def short(self) -> str:
        """The hash as people write it."""
        return self.commit[:10]


_COLUMNS = (
    revisions.c.id,
    projects.c.name.label("project"),
    revisions.c.commit,
    revisions.c.tree,
    revisions.c.author,
    revisions.c.time,
    revisions.c.subject,
    revisions.c.position,
    revisions.c.seen,
)


def add(connection: sa.Connection, project: int, commit: Commit, now: float) -> Revision | None:
    """Add a commit as the project's newest revision; None when the farm knows it already."""
    # Serialises the positions of one project on PostgreSQL; SQLite has begun with the write lock.
    connection.execute(sa.select(projects.c.id).where(projects.c.id == project).with_for_update())
    known = sa.select(revisions.c.id).where(revisions.c.project_id == project, revisions.c.commit == commit.hash)
    if connection.execute(known).first() is not None:
        return None
    last = connection.execute(
        sa.select(sa.func.max(revisions.c.position)).where(revisions.c.project_id == project)
    ).scalar()
    values = {
        "project_id": project,
        "commit": commit.hash,
        "tree": commit.tree,
        "author": commit.author,
        "time": commit.time,
        "subject": commit.subject,
        "position": (last or 0) + 1,
        "seen": now,
    }
    connection.execute(sa.insert(revisions).values(values))
    return _one(connection, revisions.c.project_id == project, revisions.c.commit == commit.hash)


def get(connection: sa.Connection, project: int, commit: str) -> Revision | None:
    """Return the revision whose hash is, or begins with, ``commit`` (at least 7 digits); the newest if several."""
    if len(commit) < 7 or not commit.isalnum():
        return None
    matching = revisions.c.commit.startswith(commit, autoescape=True)
    return _one(connection, revisions.c.project_id == project, matching)


def of_commits(connection: sa.Connection, project: int, commits: Iterable[str]) -> dict[str, Revision]:
    """Return the revisions of full hashes; what the farm has not seen is left out."""
    query = _select().where(revisions.c.project_id == project, revisions.c.commit.in_(sorted(commits)))
    return {row.commit: Revision(**row._mapping) for row in connection.execute(query)}


def page(connection: sa.Connection, project: int, limit: int = 50, before: int | None = None) -> tuple[Revision, ...]:
    """Return up to ``limit`` revisions, newest first, those before the position ``before`` when it is given."""
    query = _select().where(revisions.c.project_id == project).order_by(revisions.c.position.desc()).limit(limit)
    if before is not None:
        query = query.where(revisions.c.position < before)
    return tuple(Revision(**row._mapping) for row in connection.execute(query))


def _select() -> sa.Select[Any]:
    return sa.select(*_COLUMNS).join(projects, projects.c.id == revisions.c.project_id)


def _one(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> Revision | None:
    row = connection.execute(_select().where(*conditions).order_by(revisions.c.position.desc()).limit(1)).first()
    return None if row is None else Revision(**row._mapping)
