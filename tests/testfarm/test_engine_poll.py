# SPDX-License-Identifier: Apache-2.0
"""The poll, on a clock that is moved by hand."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher

from allotment.plugins import plugins
from allotment_testfarm.db import jobs, projects, revisions
from allotment_testfarm.discovery import Release
from allotment_testfarm.engine.duties import AllDuties
from allotment_testfarm.engine.poll import GitPoll
from allotment_testfarm.git import Commit, GitError
from allotment_testfarm.verdicts import rules

FIRST = Commit("1" * 40, "a" * 40, "Ada", 1.0, "first")
SECOND = Commit("2" * 40, "b" * 40, "Ada", 2.0, "second")


@dataclass
class FakeRepository:
    """What the poll sees."""

    head: Commit = FIRST
    dirty: int = 0
    error: Exception | None = None
    releases: tuple[Release, ...] = (Release("a", "software/a/software.cfg"),)
    fetches: int = 0
    kept: list[str] = field(default_factory=list)

    def fetch(self) -> Commit:
        self.fetches += 1
        if self.error is not None:
            raise self.error
        return self.head

    def keep(self, commit: str) -> None:
        self.kept.append(commit)

    def uncommitted(self) -> int:
        return self.dirty

    def find(self, commit: str) -> tuple[Release, ...]:
        return self.releases


@dataclass
class Polled:
    poll: GitPoll
    repository: FakeRepository
    clock: Clock
    project: int
    notices: list[tuple[int, ...]]
    lines: list[str]


@pytest.fixture
def polled(filled_sqlite: Any, workers: Any, clock: Clock) -> Any:
    repository, notices, lines = FakeRepository(), list[tuple[int, ...]](), list[str]()
    project = filled_sqlite.run(projects.ensure, "main", "/repository", "", 0.0)
    poll = GitPoll(
        clock,
        workers,
        project,
        repository,
        repository.find,
        notices.append,
        rules(plugins()),
        AllDuties(),
        interval=5.0,
    )

    def observe(event: LogEvent) -> None:
        if event.get("log_source") is poll:
            lines.append(str(event["log_format"]).format(**{key: event[key] for key in event}))

    globalLogPublisher.addObserver(observe)
    yield Polled(poll, repository, clock, project.id, notices, lines)
    globalLogPublisher.removeObserver(observe)
    poll.stopService()


def test_a_new_commit_becomes_a_job_at_once_and_only_once(polled: Any, filled_sqlite: Any) -> None:
    polled.poll.startService()
    assert [job.release for job in filled_sqlite.run(jobs.page)] == ["a"]
    assert polled.notices == [(1,)]
    polled.clock.pump([5.0] * 4)
    assert polled.repository.fetches == 5
    assert len(filled_sqlite.run(jobs.page)) == 1
    polled.repository.head = SECOND
    polled.clock.advance(5.0)
    assert len(filled_sqlite.run(jobs.page)) == 2
    assert polled.repository.kept == [FIRST.hash, SECOND.hash]


def test_a_restarted_engine_does_not_schedule_again(polled: Any, filled_sqlite: Any, workers: Any) -> None:
    polled.poll.startService()
    project = filled_sqlite.run(projects.get, "main")
    again = GitPoll(
        polled.clock,
        workers,
        project,
        polled.repository,
        polled.repository.find,
        polled.notices.append,
        (),
        AllDuties(),
    )
    again.startService()
    again.stopService()
    assert polled.notices == [(1,)]
    assert len(filled_sqlite.run(jobs.page)) == 1


def test_a_failed_poll_is_retried_after_the_interval(polled: Any, filled_sqlite: Any) -> None:
    polled.repository.error = GitError("git fetch of /repository: gone", "See that the repository can be read")
    polled.poll.startService()
    polled.clock.advance(5.0)
    assert filled_sqlite.run(projects.get, "main").problem.startswith("git fetch of /repository: gone")
    assert [line for line in polled.lines if "poll failed" in line] == [
        "poll failed, next in 5.0 s: git fetch of /repository: gone. See that the repository can be read."
    ]
    polled.repository.error = None
    polled.clock.advance(5.0)
    assert filled_sqlite.run(projects.get, "main").problem == ""
    assert polled.notices == [(1,)]


def test_a_branch_that_is_forced_back_is_said_until_the_next_commit(polled: Any, filled_sqlite: Any) -> None:
    polled.poll.startService()
    for head in (SECOND, FIRST):
        polled.repository.head = head
        polled.clock.advance(5.0)
    polled.clock.advance(5.0)
    said = (
        "HEAD was set back to 1111111111, which the farm has seen before: 2222222222 counts as the newest revision "
        "until there is a new commit. An empty one is enough."
    )
    found = filled_sqlite.run(projects.get, "main")
    assert (found.problem, found.polled) == (said, polled.clock.seconds())
    assert [line for line in polled.lines if "set back" in line] == [said]
    polled.repository.head = SECOND
    polled.clock.advance(5.0)
    assert filled_sqlite.run(projects.get, "main").problem == ""


def test_a_bug_in_one_poll_does_not_end_polling(polled: Any) -> None:
    polled.repository.error = RuntimeError("bug")
    polled.poll.startService()
    polled.repository.error = None
    polled.clock.advance(5.0)
    assert polled.notices == [(1,)]


def test_a_revision_without_releases_is_recorded_and_said(polled: Any, filled_sqlite: Any) -> None:
    polled.repository.releases = ()
    polled.poll.startService()
    assert [item.commit for item in filled_sqlite.run(revisions.page, polled.project)] == [FIRST.hash]
    assert filled_sqlite.run(jobs.page) == ()
    assert polled.lines == ["revision 1111111111 holds no software/*/software.cfg: nothing to test"]


def test_uncommitted_changes_are_said_once_and_not_tested(polled: Any) -> None:
    polled.repository.dirty = 3
    polled.poll.startService()
    polled.clock.pump([5.0] * 3)
    warning = "3 uncommitted changes in /repository are not tested: the farm tests commits, now 1111111111"
    assert polled.lines.count(warning) == 1
    polled.repository.dirty = 0
    polled.clock.advance(5.0)
    polled.repository.dirty = 3
    polled.clock.advance(5.0)
    assert polled.lines.count(warning) == 2


def test_a_stopped_poll_asks_no_more(polled: Any, result_of: Callable[[Any], Any]) -> None:
    polled.poll.startService()
    polled.poll.stopService()
    polled.clock.pump([5.0] * 3)
    assert polled.repository.fetches == 1
    assert polled.clock.getDelayedCalls() == []
