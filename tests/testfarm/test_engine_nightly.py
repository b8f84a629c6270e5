# SPDX-License-Identifier: Apache-2.0
"""The nightly, on a clock that is moved by hand, and the cron lines that it understands."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from twisted.internet.task import Clock

from allotment.errors import AllotmentError
from allotment.messages.job import JobState, Outcome
from allotment.plugins import plugins
from allotment_testfarm.db import jobs, leases, projects, schema
from allotment_testfarm.discovery import Release
from allotment_testfarm.engine.cron import Cron
from allotment_testfarm.engine.duties import AllDuties
from allotment_testfarm.engine.nightly_schedule import KIND, NightlySchedule
from allotment_testfarm.engine.poll import GitPoll
from allotment_testfarm.git import Commit, GitError
from allotment_testfarm.verdicts import rules
from allotment_testfarm.wire import LeaseRequest

HOUR = 3600.0
EVENING = datetime(2026, 11, 23, 21, 0, tzinfo=UTC).timestamp()


@dataclass
class Repository:
    """What the poll sees."""

    head: str = "1"
    releases: tuple[str, ...] = ("a", "b")
    error: GitError | None = None

    def fetch(self) -> Commit:
        if self.error is not None:
            raise self.error
        return Commit(self.head * 40, "f" * 40, "Ada", 1.0, "change")

    def keep(self, commit: str) -> None:
        pass

    def uncommitted(self) -> int:
        return 0

    def find(self, commit: str) -> tuple[Release, ...]:
        return tuple(Release(name, f"software/{name}/software.cfg", timeout=100.0) for name in self.releases)


@dataclass
class Nights:
    """A poll with a nightly at 2 o'clock UTC, and what it makes."""

    filled: Any
    workers: Any
    clock: Clock
    repository: Repository = field(default_factory=Repository)
    poll: GitPoll | None = None
    told: list[tuple[int, ...]] = field(default_factory=list)

    def start(self, line: str = "0 2 * * *") -> None:
        """Start an engine's poll, as the engine does."""
        now = self.clock.seconds()
        project = self.filled.run(projects.ensure, "main", "/repository", "", now)
        cron = Cron(line)
        self.filled.run(projects.set_nightly, project.id, str(cron), cron.after(now))
        find, told = self.repository.find, self.told.append
        nightly = NightlySchedule(self.clock, self.workers, project, cron, find, told)
        arguments = (project, self.repository, find, told, rules(plugins()), AllDuties(), nightly)
        self.poll = GitPoll(self.clock, self.workers, *arguments, interval=60.0)
        self.poll.startService()

    def stop(self) -> None:
        if self.poll is not None:
            self.poll.stopService()
            self.poll = None

    def sleep(self, hours: float) -> None:
        self.clock.pump([60.0] * round(hours * 60))

    def jobs(self) -> list[Any]:
        return [job for job in reversed(self.filled.run(jobs.page)) if job.kind == KIND]

    def end_all(self) -> None:
        """Run every job that waits."""
        self.filled.now = self.clock.seconds()
        while (lease := self.filled.claim(kinds=("release", KIND))) is not None:
            arguments = (lease.id, lease.fencing, Outcome.PASSED, "", self.filled.now, self.filled.terms)
            self.filled.run(leases.finish, *arguments, digest="d")


@pytest.fixture
def nights(filled_sqlite: Any, workers: Any, clock: Clock) -> Any:
    clock.rightNow = EVENING
    found = Nights(filled_sqlite, workers, clock)
    yield found
    found.stop()


def test_at_its_time_each_release_of_the_newest_commit_is_built_from_scratch(nights: Nights) -> None:
    nights.start()
    nights.sleep(4.9)
    assert nights.jobs() == []
    nights.repository.head = "2"
    nights.sleep(0.2)
    assert [(job.release, job.revision, job.state) for job in nights.jobs()] == [
        ("a", "2" * 40, JobState.WAITING),
        ("b", "2" * 40, JobState.WAITING),
    ]
    made = tuple(job.id for job in nights.jobs())
    assert nights.told[-1] == made  # the queue hears of them
    rows = nights.filled.run(lambda connection: connection.execute(sa.select(schema.jobs).filter_by(kind=KIND)).all())
    assert [(row.is_fresh, row.priority, row.timeout) for row in rows] == [(True, -10, 400.0)] * 2
    project = nights.filled.run(projects.get, "main")
    assert (project.nightly, project.nightly_last, project.nightly_next) == (
        "0 2 * * * UTC",
        EVENING + 5 * HOUR,
        EVENING + 29 * HOUR,
    )


def test_changes_overtake_the_nightly(nights: Nights) -> None:
    nights.start()
    nights.end_all()
    nights.sleep(5)
    nights.repository.head = "2"
    nights.sleep(0.1)
    nights.filled.now = nights.clock.seconds()
    order = [nights.filled.claim(f"n{number}", ("release", KIND)).job.kind for number in range(4)]
    assert order == ["release", "release", KIND, KIND]


def test_without_a_new_commit_the_same_jobs_run_again(nights: Nights) -> None:
    nights.start()
    nights.sleep(5)
    nights.end_all()
    first = nights.jobs()
    assert {job.state for job in first} == {JobState.DONE}
    nights.sleep(24)
    assert [(job.id, job.state, job.attempts) for job in nights.jobs()] == [
        (job.id, JobState.WAITING, 1) for job in first
    ]
    nights.end_all()
    assert [job.attempts for job in nights.jobs()] == [2, 2]


def test_a_night_that_is_not_over_goes_on_into_the_next(nights: Nights) -> None:
    nights.start()
    nights.sleep(5)
    lease = nights.filled.claim(kinds=(KIND,))
    nights.sleep(24)
    assert [(job.state, job.attempts) for job in nights.jobs()] == [(JobState.LEASED, 1), (JobState.WAITING, 0)]
    assert lease.job.kind == KIND


def test_nights_that_no_engine_saw_are_made_up_for_once(nights: Nights) -> None:
    nights.start()
    nights.stop()
    nights.clock.advance(3 * 24 * HOUR)
    nights.start()
    assert len(nights.jobs()) == 2
    nights.end_all()
    nights.stop()
    nights.start()
    nights.sleep(1)
    assert {job.state for job in nights.jobs()} == {JobState.DONE}


@pytest.mark.parametrize("is_restarted", [True, False])
def test_a_clock_that_was_ahead_puts_no_night_off(
    nights: Nights, is_restarted: bool, result_of: Callable[[Any], Any]
) -> None:
    nights.clock.rightNow = EVENING + 1000 * 24 * HOUR
    nights.start()
    nights.clock.rightNow = EVENING
    if is_restarted:
        nights.stop()
        nights.start()
    else:
        result_of(nights.poll._poll())  # its timer is of the time before
    nights.stop()
    nights.clock.advance(24 * HOUR)
    nights.start()
    assert len(nights.jobs()) == 2


def test_a_changed_line_is_not_due_for_what_the_old_one_missed(nights: Nights) -> None:
    nights.start()
    nights.stop()
    nights.clock.advance(3 * 24 * HOUR)
    nights.start("0 3 * * *")
    assert nights.jobs() == []


def test_an_engine_without_a_nightly_forgets_the_one_that_was(filled: Any) -> None:
    filled.run(projects.set_nightly, filled.project, "0 2 * * *", EVENING)
    for _ in range(2):  # it starts, and starts again
        filled.run(projects.set_nightly, filled.project, "", None)
        assert not filled.run(projects.is_night, filled.project, EVENING)


def test_a_repository_that_is_away_at_the_time_is_built_when_it_is_back(nights: Nights) -> None:
    nights.start()
    nights.repository.error = GitError("git fetch of /repository: gone", "See that the repository can be read")
    nights.sleep(8)
    assert nights.jobs() == []
    nights.repository.error = None
    nights.sleep(0.1)
    assert len(nights.jobs()) == 2


def test_of_two_engines_one_makes_the_night(nights: Nights, result_of: Callable[[Any], Any]) -> None:
    nights.start()
    nights.stop()
    project = nights.filled.run(projects.get, "main")
    nights.clock.advance(6 * HOUR)
    now = nights.clock.seconds()
    assert [nights.filled.run(projects.take_night, project.id, now, now + HOUR) for _ in range(2)] == [True, False]


@pytest.mark.parametrize(
    ("line", "zone", "after", "due"),
    [
        ("0 2 * * *", "UTC", "2026-11-23T21:00+00:00", "2026-11-24T02:00+00:00"),
        ("0 2 * * *", "Europe/Paris", "2026-11-23T21:00+00:00", "2026-11-24T01:00+00:00"),
        ("0 2 * * *", "Europe/Paris", "2026-07-01T21:00+00:00", "2026-07-02T00:00+00:00"),
        ("30 2 * * *", "Europe/Paris", "2026-03-28T12:00+00:00", "2026-03-29T01:00+00:00"),  # 2:30 is not there
        ("30 2 * * *", "Europe/Paris", "2026-10-24T12:00+00:00", "2026-10-25T00:30+00:00"),  # the first of two
        ("30 2 * * *", "Europe/Paris", "2026-10-25T00:30+00:00", "2026-10-26T01:30+00:00"),  # and not the second
        ("0 3 * * sun", "UTC", "2026-11-23T21:00+00:00", "2026-11-29T03:00+00:00"),
    ],
)
def test_a_cron_line_is_meant_in_its_time_zone(line: str, zone: str, after: str, due: str) -> None:
    found = Cron(line, zone).after(datetime.fromisoformat(after).timestamp())
    assert datetime.fromtimestamp(found, UTC) == datetime.fromisoformat(due)


FIX = "Write minute, hour, day, month and day of the week, like '0 2 * * *' for 2 o'clock each night."


@pytest.mark.parametrize(
    ("line", "zone", "message"),
    [
        ("x 2 * * *", "UTC", f"--nightly 'x 2 * * *' can't be used: Bad minute. {FIX}"),
        ("2 o'clock", "UTC", f"--nightly '2 o'clock' can't be used: Wrong number of fields. {FIX}"),
        ("0 0 30 2 *", "UTC", f"--nightly '0 0 30 2 *' can't be used: Bad day-of-month. {FIX}"),
        *(
            (
                "0 2 * * *",
                zone,
                f"--time-zone '{zone}' is not known. Write it like Europe/Paris, or leave it out for UTC.",
            )
            for zone in ("Europe/Atlantis", "../etc/passwd", "Europe", "")
        ),
    ],
)
def test_what_can_t_be_read_is_refused_with_the_fix(line: str, zone: str, message: str) -> None:
    with pytest.raises(AllotmentError) as caught:
        Cron(line, zone)
    assert str(caught.value) == message


def test_a_real_engine_begins_the_night(farm: Any, repository: Any) -> None:
    head = repository.release("a")
    wire = farm.wire(farm.start("--nightly", "* * * * * *", "--time-zone", "Europe/Paris")["url"])  # each second
    answer = wire.post("lease", LeaseRequest(wire.name, 60.0, (KIND,)))
    job = answer.json()["job"]
    assert (job["kind"], job["release"], job["revision"], job["timeout"]) == (KIND, "a", head, 4 * 3600.0)
