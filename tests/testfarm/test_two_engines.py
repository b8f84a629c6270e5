# SPDX-License-Identifier: Apache-2.0
"""Two engines over one PostgreSQL: together they do what one does, also when one of them is killed."""

import contextlib
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from allotment.messages.job import JobState, Outcome
from allotment_master.kit.database import Database
from allotment_testfarm.db import attempts, jobs, projects
from allotment_testfarm.wire import JobResult

pytestmark = [pytest.mark.postgresql, pytest.mark.timeout(300)]
RELEASES = tuple(f"r{number}" for number in range(250))


def outcome_of(job: dict[str, Any], first: str) -> Outcome:
    """What a job of a revision shows: each third release fails at first, each fifth after the change."""
    every = 3 if job["revision"] == first else 5
    return Outcome.FAILED if int(job["release"][1:]) % every == 0 else Outcome.PASSED


def expected_verdict(release: str) -> str:
    """The verdict after the change, as one engine gives it."""
    number = int(release[1:])
    was_red, is_red = number % 3 == 0, number % 5 == 0
    return {(0, 0): "passed", (1, 0): "fixed", (0, 1): "new-failure", (1, 1): "still-failing"}[was_red, is_red]


class Pair:
    """Two engines in one folder, with two test nodes each."""

    def __init__(self, folder: Path, repository: Any, make: Callable[..., Any], url: str) -> None:
        self.engines = [make(folder, repository.path, name) for name in ("one", "two")]
        self.database = Database(f"{url}&application_name=test")
        self.options = ("--database", url, "--lease", "2")
        self.first = ""  # commit
        self.ended: Counter[int] = Counter()  # results that were accepted, by job
        self.stopped = threading.Event()
        self.threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start both engines, and then their test nodes: the first is not done before the second is there."""
        urls = [engine.start(*self.options)["url"] for engine in self.engines]
        wires = [
            engine.wire(url, f"{engine.name}-{node}")
            for engine, url in zip(self.engines, urls, strict=True)
            for node in range(2)
        ]
        self.threads = [threading.Thread(target=self._work, args=(wire,)) for wire in wires]
        for thread in self.threads:
            thread.start()

    def _work(self, wire: Any) -> None:
        """Take jobs until the engine is gone."""
        with contextlib.suppress(httpx2.TransportError), contextlib.closing(wire.http):
            while not self.stopped.is_set():
                answer = wire.lease(0.5)
                if answer.status_code != 200:
                    continue
                lease = answer.json()
                result = JobResult(lease["fencing"], outcome_of(lease["job"], self.first))
                while (status := wire.result(lease["id"], result).status_code) == 500:
                    pass  # its database connection was cut
                if status == 204:
                    self.ended[lease["job"]["id"]] += 1

    def cut_connection(self) -> None:
        """Cut one of the engines' connections to the database."""
        with self.database.write() as connection:
            connection.execute(
                sa.text(
                    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
                    " and application_name <> 'test' and backend_type = 'client backend' order by random() limit 1"
                )
            )

    def jobs(self, revision: str) -> list[Any]:
        with self.database.read() as connection:
            project = projects.get(connection, "main")
            assert project is not None
            return list(jobs.page(connection, project.id, revision=revision, limit=1000))

    def count_done(self, revision: str) -> int:
        return sum(job.state is JobState.DONE for job in self.jobs(revision))

    def is_done(self, revision: str) -> bool:
        found = self.jobs(revision)
        return len(found) == len(RELEASES) and all(job.verdict is not None for job in found)

    def attempts(self, job: int) -> tuple[Any, ...]:
        with self.database.read() as connection:
            return attempts.of_job(connection, job)

    def close(self) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join(30)
        for engine in self.engines:
            engine.close()
        self.database.close()


@pytest.fixture
def pair(farm: Any, tmp_path: Path, repository: Any, postgresql_url: str) -> Iterator[Pair]:
    found = Pair(tmp_path / "farm", repository, type(farm), postgresql_url)
    yield found
    found.close()


def test_two_engines_do_each_job_once_also_when_one_is_killed(
    pair: Pair, repository: Any, eventually: Callable[..., Any]
) -> None:
    pair.first = repository.release(*RELEASES)
    pair.start()
    eventually(lambda: pair.is_done(pair.first), 200)
    assert set(pair.ended.values()) == {1}
    nodes = {job.node.partition("-")[0] for job in pair.jobs(pair.first)}
    assert nodes == {"one", "two"}

    second = repository.release(*RELEASES)
    for done in range(0, 80, 4):
        eventually(lambda least=done: pair.count_done(second) >= least, 100)
        pair.cut_connection()
    pair.engines[0].signal(signal.SIGKILL)
    eventually(lambda: pair.is_done(second), 200)
    assert {job.release: job.verdict.name for job in pair.jobs(second)} == {
        release: expected_verdict(release) for release in RELEASES
    }
    for job in pair.jobs(second):
        conclusive = [item for item in pair.attempts(job.id) if item.outcome is not Outcome.LOST]
        assert len(conclusive) == 1, f"job {job.id} counts twice"

    third = repository.release("r1")  # the killed one polled; the other one does now
    eventually(lambda: len(pair.jobs(third)) == len(RELEASES))


def test_engines_that_start_at_once_use_one_token(pair: Pair) -> None:
    with ThreadPoolExecutor(2) as pool:
        documents = list(pool.map(lambda engine: engine.start(*pair.options), pair.engines))
    for engine, document in zip(pair.engines, documents, strict=True):
        engine.wire(document["url"])  # says hello with the token of the folder


def test_a_second_engine_of_the_same_name_is_refused(pair: Pair) -> None:
    first = pair.engines[0]
    first.start(*pair.options)
    second = type(first)(first.folder, first.repository, first.name)
    second.spawn(*pair.options)
    assert second.process.wait(60) == 1
    assert f"is in use by process {first.process.pid}. " in second.log.read_text()


def test_two_farms_show_the_same_pages(pair: Pair, repository: Any, eventually: Callable[..., Any]) -> None:
    head = repository.release("a")
    urls = [farm.start("--database", pair.options[1], program="run")["url"] for farm in pair.engines]
    assert len(set(urls)) == 2

    def seen(url: str) -> list[str]:
        return [job["revision"] for job in httpx2.get(f"{url}/api/v1/jobs", timeout=30.0).json()["items"]]

    for url in urls:
        eventually(lambda url=url: seen(url) == [head])
    pair.engines[0].signal(signal.SIGTERM)
    newer = repository.release("b")
    eventually(lambda: newer in seen(urls[1]))  # the other one polls now
