# SPDX-License-Identifier: Apache-2.0
"""Watching a repository: its branch's newest commit is looked for again and again, and a new one becomes jobs."""

from collections.abc import Callable, Sequence
from typing import Protocol

import sqlalchemy
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from allotment_testfarm.db import projects, revisions
from allotment_testfarm.db.projects import Project
from allotment_testfarm.discovery import Release
from allotment_testfarm.engine.duties import Duties
from allotment_testfarm.engine.nightly_schedule import NightlySchedule
from allotment_testfarm.engine.proving import Proved, prove_first, prove_rest
from allotment_testfarm.engine.repeating import RepeatingService
from allotment_testfarm.engine.schedule import Scheduled, schedule
from allotment_testfarm.engine.workers import Workers
from allotment_testfarm.git import Commit, GitError
from allotment_testfarm.verdicts import Rule


class Source(Protocol):
    """What the poll asks of a repository; every method blocks."""

    def fetch(self) -> Commit:
        """Return the branch's newest commit."""
        ...

    def keep(self, commit: str) -> None:
        """Keep a commit's files even when its branch is rewritten."""
        ...

    def uncommitted(self) -> int:
        """Return how many files of a local working tree differ from its commit."""
        ...


class GitPoll(RepeatingService):
    """Polls one project every ``interval`` seconds; ``on_jobs`` is called with new jobs that are in the database."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        workers: Workers,
        project: Project,
        source: Source,
        find: Callable[[str], tuple[Release, ...]],
        on_jobs: Callable[[tuple[int, ...]], None],
        rules: Sequence[Rule],
        duties: Duties,
        nightly: NightlySchedule | None = None,
        interval: float = 5.0,
    ) -> None:
        super().__init__(clock, self._poll, interval)
        self._clock = clock
        self._workers = workers
        self._project = project
        self._source = source
        self._find = find  # releases of a commit
        self._on_jobs = on_jobs
        self._rules = rules
        self._duties = duties
        self._nightly = nightly
        self._newest = ""
        self._set_back = ""  # what there is to say of a branch that was forced back
        self._dirty = 0
        self._problem = ""

    async def _poll(self) -> None:
        if not await self._duties.mine(f"poll {self._project.name}"):
            return
        try:
            commit = await self._look()
            if self._nightly is not None:
                await self._nightly.look(commit)
        except GitError as error:
            await self._note(str(error), has_answered=False)
        else:
            await self._note(self._set_back, has_answered=True)

    async def _look(self) -> Commit:
        """Return the branch's newest commit, recorded with its jobs."""
        commit = await self._workers.blocking(self._source.fetch)
        await self._warn_of_uncommitted(commit)
        if commit.hash == self._newest:
            return commit
        await self._workers.blocking(self._source.keep, commit.hash)
        releases = await self._workers.blocking(self._find, commit.hash)
        now = self._clock.seconds()
        found = await self._workers.write(self._schedule, commit, releases, now)
        if found is not None:
            scheduled, proved = found
            self._say(scheduled, await prove_rest(self._workers, self._rules, now, proved))
            self._on_jobs(scheduled.jobs)
        self._set_back = await self._how_set_back(commit)
        self._newest = commit.hash
        return commit

    async def _how_set_back(self, commit: Commit) -> str:
        """Return what to say when the branch's newest commit is not the farm's newest revision; "" when it is."""
        (newest,) = await self._workers.read(revisions.page, self._project.id, 1)
        if newest.commit == commit.hash:
            return ""
        return (
            f"{self._project.branch or 'HEAD'} was set back to {commit.hash[:10]}, which the farm has seen before: "
            f"{newest.short} counts as the newest revision until there is a new commit. An empty one is enough."
        )

    def _schedule(
        self, connection: sqlalchemy.Connection, commit: Commit, releases: tuple[Release, ...], now: float
    ) -> tuple[Scheduled, Proved] | None:
        """Record a commit with its jobs, which are seen at once or not at all, and end the first that need not run."""
        scheduled = schedule(connection, self._project.id, commit, releases, now)
        if scheduled is None:
            return None
        return scheduled, prove_first(connection, self._rules, now, of=scheduled.jobs)

    def _say(self, scheduled: Scheduled, proved: tuple[int, ...]) -> None:
        revision = scheduled.revision
        if scheduled.jobs:
            self._log.info(
                "revision {short}: {count} jobs, {proved} proved before",
                short=revision.short,
                count=len(scheduled.jobs),
                proved=len(proved),
            )
        else:
            self._log.warn("revision {short} holds no software/*/software.cfg: nothing to test", short=revision.short)

    async def _warn_of_uncommitted(self, commit: Commit) -> None:
        dirty = await self._workers.blocking(self._source.uncommitted)
        if dirty and dirty != self._dirty:
            self._log.warn(
                "{count} uncommitted changes in {repository} are not tested: the farm tests commits, now {short}",
                count=dirty,
                repository=self._project.repository,
                short=commit.hash[:10],
            )
        self._dirty = dirty

    async def _note(self, problem: str, *, has_answered: bool) -> None:
        if problem and problem != self._problem:
            if has_answered:
                self._log.warn("{problem}", problem=problem)
            else:
                self._log.warn("poll failed, next in {s} s: {problem}", s=self._interval, problem=problem)
        self._problem = problem
        now = self._clock.seconds()
        await self._workers.write(projects.note_poll, self._project.id, now, problem, has_answered=has_answered)
