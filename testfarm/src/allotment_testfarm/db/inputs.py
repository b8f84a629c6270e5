# SPDX-License-Identifier: Apache-2.0
"""Inputs: all that a job can see, as documents that their hash names, so that equal ones are stored once.

A job has two: the files of its release, told from the commit, and the environment of the test node that took it. The
first holds ``<folder>/`` -> the hash of a document of that folder's files, because releases share most of them.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from allotment.codec import canonical
from allotment.messages.job import Outcome
from allotment_recipes.reach import Group
from allotment_testfarm.db.schema import inputs, jobs, revisions

CONCLUSIVE = (Outcome.PASSED, Outcome.FAILED)  # what says something about the software

_ran = jobs.alias("ran")
# The job of a release's newest revision that passed or failed, if its inputs are known; made once: each claim
# and each new job use it.
LAST_CONCLUSIVE: Final = (
    sa.select(_ran.c.id)
    .where(
        *(_ran.c[name] == sa.bindparam(f"last_{name}") for name in ("project_id", "release", "kind", "platform")),
        sa.or_(*(_ran.c.outcome == outcome for outcome in CONCLUSIVE)),  # IN is not for many rows at once
        _ran.c.files.is_not(None),
    )
    .order_by(_ran.c.position.desc())
    .limit(1)
)

_ADD: Final = {
    "postgresql": postgresql.insert(inputs).on_conflict_do_nothing(),
    "sqlite": sqlite.insert(inputs).on_conflict_do_nothing(),
}


@dataclass(frozen=True)
class InputChange:
    """One input that is not what it was."""

    name: str  # a file's path, or what of the test node
    before: str | None  # git's mode and hash, a version; None: it was not there
    after: str | None  # None: it is gone


@dataclass(frozen=True)
class InputChanges:
    """How a job's inputs differ from those of the last job of its release that passed or failed."""

    job: int  # that one
    revision: str  # its commit
    files: tuple[InputChange, ...]
    environment: tuple[InputChange, ...]  # nothing while no test node has taken the job


def put(connection: sa.Connection, document: Mapping[str, str]) -> str:
    """Store a document and return its hash; it may be there already."""
    (sha256,) = put_all(connection, [document])
    assert sha256 is not None  # there was a document
    return sha256


def put_all(connection: sa.Connection, documents: Iterable[Mapping[str, str] | None]) -> tuple[str | None, ...]:
    """Store documents and return their hashes; None stays None."""
    found = [(None if item is None else hashlib.sha256(canonical(item)).hexdigest(), item) for item in documents]
    wanted = {sha256: item for sha256, item in found if sha256 is not None and item is not None}
    _insert(connection, dict(sorted(wanted.items())))  # in one order: who stores the same ones waits, and no more
    return tuple(sha256 for sha256, _ in found)


def put_groups(connection: sa.Connection, groups: Iterable[Group]) -> None:
    """Store the files of many releases; what they share, once."""
    wanted = {group.sha256: group for group in {id(group): group for group in groups}.values()}
    known = connection.execute(sa.select(inputs.c.sha256).where(inputs.c.sha256.in_(list(wanted)))).scalars()
    _insert(connection, {sha256: wanted[sha256].files for sha256 in sorted(wanted.keys() - set(known))})


def files(groups: Mapping[str, Group], options: Mapping[str, object]) -> dict[str, str]:
    """Return the document of which files and options a job sees; its groups are stored by :func:`put_groups`."""
    told = {f"option {name}": canonical(value).decode() for name, value in options.items()}
    return {**{f"{folder}/": group.sha256 for folder, group in groups.items()}, **told}


def _insert(connection: sa.Connection, documents: Mapping[str, Mapping[str, str]]) -> None:
    if documents:
        values = [{"sha256": sha256, "document": dict(document)} for sha256, document in documents.items()]
        connection.execute(_ADD[connection.dialect.name], values)


def get(connection: sa.Connection, sha256: str | None) -> Mapping[str, str]:
    """Return a document, an empty one when there is none."""
    return connection.execute(sa.select(inputs.c.document).where(inputs.c.sha256 == sha256)).scalar() or {}


def whole(release: str, kind: str, files: str | None, environment: str) -> str | None:
    """Return the hash of all that a job sees on a test node; None where that can't be told."""
    if files is None or not environment:
        return None
    document = {"release": release, "kind": kind, "files": files, "environment": environment}
    return hashlib.sha256(canonical(document)).hexdigest()


def changes(connection: sa.Connection, job: int) -> InputChanges | None:
    """Return what is different for a job; None when there is nothing to compare, or it was not to be run."""
    own, other = jobs.alias(), jobs.alias()
    query = (
        sa.select(
            *(own.c.files, own.c.environment, other.c.id, revisions.c.commit),
            other.c.files.label("other_files"),
            other.c.environment.label("other_environment"),
        )
        .join(other, other.c.id == own.c.compared_with)
        .join(revisions, revisions.c.id == other.c.revision_id)
        .where(own.c.id == job, own.c.proved_by.is_(None), own.c.files.is_not(None))
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    files = _difference(*_changed_files(connection, row.other_files, row.files))
    known = row.environment is not None and row.other_environment is not None
    before, after = (row.other_environment, row.environment) if known else (None, None)
    environment = _difference(get(connection, before), get(connection, after))
    return InputChanges(row.id, row.commit, files, environment)


def _changed_files(connection: sa.Connection, before: str, after: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the files of the folders that differ, and the options, as they were and as they are."""
    sides = get(connection, before), get(connection, after)
    common = sides[0].items() & sides[1].items()
    found: tuple[dict[str, str], dict[str, str]] = {}, {}
    for side, files in zip(sides, found, strict=True):
        for name, value in side.items() - common:
            files.update(get(connection, value) if name.endswith("/") else {name: value})
    return found


def _difference(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[InputChange, ...]:
    names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    return tuple(InputChange(name, old.get(name), new.get(name)) for name in names)
