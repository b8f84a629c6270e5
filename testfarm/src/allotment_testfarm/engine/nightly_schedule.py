# SPDX-License-Identifier: Apache-2.0
"""The nightly: at its time the branch's newest commit is built from scratch, without anything built before."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import sqlalchemy
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from allotment_testfarm.db import events, jobs, projects, revisions
from allotment_testfarm.db.projects import Project
from allotment_testfarm.discovery import Release
from allotment_testfarm.engine.cron import Cron
from allotment_testfarm.engine.workers import Workers
from allotment_testfarm.git import Commit

KIND: Final = "from-scratch"  # of its jobs
PRIORITY: Final = -10  # of its jobs: every change goes first
LONGER: Final = 4.0  # times as long as a release's job may take, because nothing of it is in the store


class NightlySchedule:
    """Makes the night's jobs when they are due; the poll asks it after each look at the repository.

    What is due is in the database: a night that passed while no engine ran, or while the repository was away, is made
    up for once.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        workers: Workers,
        project: Project,
        cron: Cron,
        find: Callable[[str], tuple[Release, ...]],
        on_jobs: Callable[[tuple[int, ...]], None],
    ) -> None:
        self._clock = clock
        self._workers = workers
        self._project = project
        self._cron = cron
        self._find = find  # releases of a commit
        self._on_jobs = on_jobs

    async def look(self, commit: Commit) -> None:
        """Make the jobs if they are due; ``commit`` is the branch's newest, which the farm has recorded."""
        now = self._clock.seconds()
        following = self._cron.after(now)
        await self._workers.write(projects.set_nightly, self._project.id, str(self._cron), following)
        if not await self._workers.read(projects.is_night, self._project.id, now):
            return
        releases = await self._workers.blocking(self._find, commit.hash)
        made = await self._workers.write(self._make, commit.hash, releases, now)
        if made is not None:
            self._log.info("nightly of {short}: {count} jobs", short=commit.hash[:10], count=len(made))
            self._on_jobs(made)

    def _make(
        self, connection: sqlalchemy.Connection, commit: str, releases: Sequence[Release], now: float
    ) -> tuple[int, ...] | None:
        """Make jobs, or let those of an earlier night run again; None when another engine was first."""
        if not projects.take_night(connection, self._project.id, now, self._cron.after(now)):
            return None
        revision = revisions.get(connection, self._project.id, commit)
        assert revision is not None  # the poll has recorded it
        wanted = [
            replace(release, kind=KIND, priority=PRIORITY, is_fresh=True, timeout=release.timeout * LONGER)
            for release in releases
        ]
        before = jobs.of_kind(connection, revision.id, KIND)
        made = jobs.create(connection, self._project.id, revision.id, revision.position, wanted, now)
        again = tuple(job for job in before if jobs.retry(connection, job, now))
        data = {"project": self._project.name, "revision": commit, "jobs": len(made) + len(again)}
        events.record(connection, now, "night.began", f"revision/{commit}", data)
        return made + again
