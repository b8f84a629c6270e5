# SPDX-License-Identifier: Apache-2.0
"""Projects: the repositories that the farm watches."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from allotment_testfarm.db.schema import projects


@dataclass(frozen=True)
class Project:
    """A repository's branch whose revisions are tested."""

    id: int
    name: str
    repository: str
    branch: str  # "" is the repository's HEAD
    created: float
    polled: float | None  # when the repository last answered
    problem: str  # why the branch can't be followed: the last poll failed, or it was set back; "" when it can
    nightly: str = ""  # cron line and time zone; "": never
    nightly_last: float | None = None  # when jobs were last made by it
    nightly_next: float | None = None  # when they will be


def ensure(connection: sa.Connection, name: str, repository: str, branch: str, now: float) -> Project:
    """Return the project called ``name``, made or brought up to date; its history stays."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    values = {"repository": repository, "branch": branch}
    making = insert(projects).values(name=name, created=now, **values)  # other engines may begin at the same moment
    made = making.on_conflict_do_update(index_elements=[projects.c.name], set_=values).returning(projects)
    return Project(**connection.execute(made).one()._mapping)


def get(connection: sa.Connection, name: str) -> Project | None:
    """Return the project called ``name``."""
    row = connection.execute(sa.select(projects).where(projects.c.name == name)).one_or_none()
    return None if row is None else Project(**row._mapping)


def all_projects(connection: sa.Connection) -> tuple[Project, ...]:
    """Return every project, by name."""
    rows = connection.execute(sa.select(projects).order_by(projects.c.name))
    return tuple(Project(**row._mapping) for row in rows)


def note_poll(
    connection: sa.Connection, project: int, now: float, problem: str = "", *, has_answered: bool = True
) -> None:
    """Remember how the last poll went; ``problem`` may be one of a repository that has answered, too."""
    values: dict[str, object] = {"problem": problem}
    if has_answered:
        values["polled"] = now
    connection.execute(sa.update(projects).where(projects.c.id == project).values(**values))


def set_nightly(connection: sa.Connection, project: int, nightly: str, following: float | None) -> None:
    """Say when a project's nightly is; ``following`` counts unless it is as before: a missed night stays due.

    One that is later than ``following`` was told by a clock that was ahead.
    """
    is_other = sa.or_(projects.c.nightly != nightly, projects.c.nightly_next > sa.literal(following, sa.Float))
    changed = sa.update(projects).where(projects.c.id == project, is_other)
    connection.execute(changed.values(nightly=nightly, nightly_next=following))


def is_night(connection: sa.Connection, project: int, now: float) -> bool:
    """Whether a project's nightly is due."""
    due = sa.select(projects.c.id).where(projects.c.id == project, projects.c.nightly_next <= now)
    return connection.execute(due).first() is not None


def take_night(connection: sa.Connection, project: int, now: float, following: float) -> bool:
    """Note that the nightly begins now and when the next one is due; False when it is not due any more."""
    due = sa.update(projects).where(projects.c.id == project, projects.c.nightly_next <= now)
    return connection.execute(due.values(nightly_last=now, nightly_next=following)).rowcount > 0
