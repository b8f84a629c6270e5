# SPDX-License-Identifier: Apache-2.0
"""The scheduler: a new revision gets one job for each of its releases, in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy

from allotment_testfarm.db import events, jobs, revisions
from allotment_testfarm.db.revisions import Revision
from allotment_testfarm.discovery import Release
from allotment_testfarm.git import Commit


@dataclass(frozen=True)
class Scheduled:
    """A revision that the farm has just learnt of, and its new jobs."""

    revision: Revision
    jobs: tuple[int, ...]


def schedule(
    connection: sqlalchemy.Connection, project: int, commit: Commit, releases: Sequence[Release], now: float
) -> Scheduled | None:
    """Record a commit and its jobs; None when the farm knows it already, so it may be called again and again."""
    revision = revisions.add(connection, project, commit, now)
    if revision is None:
        return None
    data = {"project": revision.project, "releases": [release.name for release in releases]}
    events.record(connection, now, "revision.seen", f"revision/{commit.hash}", data)
    made = jobs.create(connection, project, revision.id, revision.position, releases, now)
    return Scheduled(revision, made)
