# SPDX-License-Identifier: Apache-2.0
"""A farm's database after five years: 80 releases, 9,000 revisions and their jobs, drawn from one seed, in bulk.

``python -m benchmarks.five_years URL`` fills an empty database; benchmarks and tests call :func:`fill`. The results
page of 200 revisions is then ``/``: 30 of them job by job, the others as strips.
"""

import hashlib
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from allotment.messages.job import JobState, Outcome
from allotment_master.kit.database import Database
from allotment_testfarm.db import nodes
from allotment_testfarm.db.schema import attempts, events, jobs, projects, revisions, test_cases

YEARS = 5
REVISIONS = 9000
RELEASES = 80
_CHUNK = 20_000  # rows a statement: more would only take memory
_BREAKS, _HEALS, _RUNS = 0.004, 0.15, 0.3  # chances of a release at a revision
_AUTHORS = ("Ada Okafor", "Bruno Lindqvist", "Chiyo Tanaka", "Deniz Acar", "Eun-ji Park")
_TOPICS = ("nginx", "recipes", "kvm", "component/openssl", "promises", "mariadb", "stack/monitor", "software/erp5")
_WORKS = (
    "answer on IPv6 as well",
    "check octal modes before writing",
    "give the guest the entropy that it asks for",
    "3.5.4 -> 3.5.5",
    "say which port was closed",
    "wait for recovery before the promise runs",
    "keep feeds for thirty days and not for three",
)


@dataclass
class _Release:
    """A release while its history is written."""

    name: str
    first: int  # position of the revision that brought it
    seconds: float  # that it usually takes
    is_red: bool = False
    since: str = ""
    ran: dict[bool, int] = field(default_factory=dict)  # the last job that was run, by whether it was red


def fill(database: Database, *, revisions: int = REVISIONS, releases: int = RELEASES, now: float | None = None) -> int:
    """Fill an empty database with the history of one project up to ``now``; return the number of jobs.

    Releases come one after the other: a fifth is there from the start, all are for the newest 300 revisions. A job is
    run when its inputs changed, else an earlier one proves it; every night one revision is built from scratch.
    """
    history = _History(random.Random(20261123), revisions, releases, time.time() if now is None else now)
    with database.write() as connection:
        connection.execute(sa.insert(projects).values(history.project))
        for number in range(1, 5):
            nodes.hello(connection, f"node-{number}", "x86_64-linux-gnu", 2, "0.1", history.now)
        rows: dict[sa.Table, list[dict[str, Any]]] = {table: [] for table in _ORDER}
        for table, row in history.rows():
            rows[table].append(row)
            if len(rows[table]) >= _CHUNK:
                _store(connection, rows)
        _store(connection, rows)
        if not database.is_sqlite:
            for table in ("projects", "revisions", "jobs", "attempts"):  # ids were given: what comes next must know
                connection.exec_driver_sql(f"SELECT setval('{table}_id_seq', (SELECT max(id) FROM {table}))")
            connection.exec_driver_sql("ANALYZE")  # as the server would by itself; on SQLite nobody does
    return history.job


_ORDER = (revisions, jobs, attempts, test_cases, events)  # what is referred to comes first


def _store(connection: sa.Connection, rows: dict[sa.Table, list[dict[str, Any]]]) -> None:
    for table in _ORDER:
        if rows[table]:
            connection.execute(sa.insert(table), rows[table])
            rows[table].clear()


class _History:
    """Draws the rows of all tables, the oldest revision first."""

    def __init__(self, chance: random.Random, revisions: int, releases: int, now: float) -> None:
        self.now = now
        self.job = 0
        self._attempt = 0
        self._chance = chance
        self._count = revisions
        self._step = YEARS * 365 * 86_400 / REVISIONS  # seconds between two revisions
        grown = max(revisions - 300, 1)
        fifth = releases // 5
        self._releases = [
            _Release(
                f"release-{number:02}",
                0 if number < fifth else (number - fifth) * grown // max(releases - fifth, 1),
                20 + 400 * chance.random() ** 3,
            )
            for number in range(releases)
        ]

    @property
    def project(self) -> dict[str, Any]:
        """The row of the project."""
        address = "https://git.example.org/allotment.git"
        return {"id": 1, "name": "allotment", "repository": address, "branch": "main", "created": 0, "polled": self.now}

    def rows(self) -> Iterator[tuple[sa.Table, dict[str, Any]]]:
        """Yield every row with its table."""
        night = 0
        for position in range(1, self._count + 1):
            seen = self.now - (self._count - position + self._chance.random() * 0.8) * self._step - 60
            commit = hashlib.sha1(f"revision {position}".encode()).hexdigest()
            yield revisions, self._revision(position, commit, seen)
            kinds = ["release"]
            if int(seen // 86_400) > night:
                night = int(seen // 86_400)
                kinds.append("from-scratch")
            for kind in kinds:
                for release in self._releases:
                    if release.first < position:
                        key = {"project_id": 1, "revision_id": position, "position": position, "kind": kind}
                        yield from self._job(key, release, commit, seen)

    def _revision(self, position: int, commit: str, seen: float) -> dict[str, Any]:
        return {
            "id": position,
            "project_id": 1,
            "commit": commit,
            "tree": hashlib.sha1(commit.encode()).hexdigest(),
            "author": self._chance.choice(_AUTHORS),
            "time": seen - 3,
            "subject": f"{self._chance.choice(_TOPICS)}: {self._chance.choice(_WORKS)}",
            "position": position,
            "seen": seen,
        }

    def _job(
        self, key: dict[str, Any], release: _Release, commit: str, seen: float
    ) -> Iterator[tuple[sa.Table, dict[str, Any]]]:
        self.job += 1
        was_red = release.is_red
        is_nightly = key["kind"] != "release"
        if not is_nightly and self._chance.random() < (_HEALS if was_red else _BREAKS):
            release.is_red, release.since = not was_red, commit
        changed = release.is_red != was_red or is_nightly or not release.ran
        is_run = changed or self._chance.random() < _RUNS or release.is_red not in release.ran
        started = seen + 2 + self._chance.random() * 60
        ended = started + release.seconds * (0.8 + 0.4 * self._chance.random()) if is_run else seen + 1
        outcome = Outcome.FAILED if release.is_red else Outcome.PASSED
        words = {(False, False): "passed", (False, True): "new-failure", (True, True): "still-failing"}
        yield (
            jobs,
            {
                **key,
                "id": self.job,
                "release": release.name,
                "profile": f"software/{release.name}/software.cfg",
                "platform": "any",
                "timeout": 3600.0,
                "options": {},
                "state": JobState.DONE,
                "outcome": outcome,
                "verdict": words.get((was_red, release.is_red), "fixed"),
                "colour": "red" if release.is_red else "green",
                "verdict_detail": "2 of 9 test cases failed" if release.is_red else "7 test cases passed",
                "verdict_since": release.since or None,
                "created": seen,
                "started": started if is_run else None,
                "ended": ended,
                "proved_by": None if is_run else release.ran[release.is_red],
            },
        )
        if is_run:
            release.ran[release.is_red] = self.job
            yield from self._attempts(release.is_red, outcome, started, ended)
        yield events, {"time": ended, "kind": "job.judged", "subject": f"job/{self.job}", "data": {}}

    def _attempts(
        self, is_red: bool, outcome: Outcome, started: float, ended: float
    ) -> Iterator[tuple[sa.Table, dict[str, Any]]]:
        self._attempt += 1
        yield (
            attempts,
            {
                "id": self._attempt,
                "job_id": self.job,
                "number": 1,
                "node": f"node-{self._attempt % 4 + 1}",
                "fencing": 1,
                "started": started,
                "expires": ended + 60,
                "deadline": ended + 3600,
                "ended": ended,
                "outcome": outcome,
                "steps": [],
                "log": f"logs/{self.job}-1.log",
            },
        )
        if is_red:
            case = {"attempt_id": self._attempt, "suite": "test_service", "name": "test_answer"}
            yield test_cases, {**case, "outcome": "failed", "seconds": 1.0, "message": "502 != 200"}


if __name__ == "__main__":
    target = Database(sys.argv[1])
    target.upgrade("allotment_testfarm")
    print(f"{fill(target)} jobs")
    target.close()
