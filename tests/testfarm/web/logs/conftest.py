# SPDX-License-Identifier: Apache-2.0
"""A farm whose logs are written by the engine's sink while the web tier reads them as a process of its own."""

import contextlib
import itertools
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from allotment_master.kit.database import Database, sqlite_url
from allotment_testfarm.db.schema import attempts, jobs, projects, revisions
from allotment_testfarm.engine.logs import LogSink


class LogFarm:
    """Jobs with one attempt each, and its log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self.sink = LogSink(folder)
        self.database = Database(sqlite_url(str(folder / "farm.sqlite")))
        self.database.upgrade("allotment_testfarm")
        self._numbers = itertools.count(1)
        with self.database.write() as connection:
            project = {"name": "p", "repository": "/srv/p", "branch": "main", "created": 1.0}
            self._project = connection.execute(
                sa.insert(projects).values(project).returning(projects.c.id)
            ).scalar_one()

    def job(self, log: bytes = b"", *, is_running: bool = False, **attempt: object) -> int:
        """Return a new job; its log is sealed unless it runs."""
        number = next(self._numbers)
        name = f"{number:040x}"
        revision = {"commit": name, "tree": name, "author": "A", "time": 1.0, "subject": "s", "seen": 1.0}
        job = {"release": f"r{number}", "profile": "software/r/software.cfg", "kind": "release", "platform": "any"}
        state = {"state": "leased"} if is_running else {"state": "done", "outcome": "passed", "ended": 3.0}
        with self.database.write() as connection:
            revision |= {"project_id": self._project, "position": number}
            found = connection.execute(sa.insert(revisions).values(revision).returning(revisions.c.id)).scalar_one()
            job |= {"project_id": self._project, "revision_id": found, "position": number, "options": {}, **state}
            values = {**job, "timeout": 60.0, "created": 1.0, "started": 2.0}
            made = connection.execute(sa.insert(jobs).values(values).returning(jobs.c.id)).scalar_one()
            values = {"job_id": made, "number": 1, "node": "n1", "fencing": 1, "started": 2.0, "expires": 9e9}
            values |= {"deadline": 9e9, "steps": [], "log": self.log(made), **attempt}
            values["ended"] = None if is_running else 3.0
            connection.execute(sa.insert(attempts).values(values))
        if log:
            self.write(made, log)
        if not is_running:
            self.sink.seal(self.log(made))
        return int(made)

    def again(self, job: int, log: bytes) -> None:
        """Begin a second attempt of a job."""
        with self.database.write() as connection:
            values = {"job_id": job, "number": 2, "node": "n2", "fencing": 2, "started": 4.0, "expires": 9e9}
            connection.execute(sa.insert(attempts).values(**values, deadline=9e9, steps=[], log=f"logs/{job}/2.log"))
            connection.execute(sa.update(jobs).where(jobs.c.id == job).values(state="leased"))
        self.sink.append(f"logs/{job}/2.log", 0, log)

    def log(self, job: int) -> str:
        """Return where the first attempt's log is."""
        return f"logs/{job}/1.log"

    def write(self, job: int, text: bytes) -> None:
        """Add to a log, as a test node does."""
        have = self.sink.append(self.log(job), 0, b"").acknowledged
        while text:
            have = self.sink.append(self.log(job), have, text[: 1 << 20]).acknowledged
            text = text[1 << 20 :]

    def end(self, job: int, state: str = "done") -> None:
        """End the attempt, as the engine does."""
        self.sink.seal(self.log(job))
        with self.database.write() as connection:
            connection.execute(sa.update(attempts).where(attempts.c.job_id == job).values(ended=3.0, outcome="passed"))
            connection.execute(sa.update(jobs).where(jobs.c.id == job).values(state=state))


class Events:
    """Server-sent events, read on a thread as they come."""

    def __init__(self, url: str, **headers: str) -> None:
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._client = httpx2.Client(timeout=60, headers=headers)
        self._url = url
        self._answer: httpx2.Response | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(httpx2.HTTPError), self._client.stream("GET", self._url) as answer:
            self._answer = answer
            assert answer.headers["content-type"].startswith("text/event-stream"), answer.status_code
            for line in answer.iter_lines():
                self._lines.put(line)
        self._lines.put(None)

    def next(self) -> dict[str, Any] | None:
        """Return the next event: its name, id and data; None when the stream has ended."""
        event: dict[str, Any] = {}
        while (line := self._lines.get(timeout=60)) is not None:
            key, _, value = line.partition(": ")
            if not line and "data" in event:
                return {**event, "data": json.loads(event["data"])}
            if key in ("event", "id", "data"):
                event[key] = value
        return None

    def until(self, last: int) -> list[dict[str, Any]]:
        """Return all events up to the one that shows the line ``last``."""
        events = []
        while (event := self.next()) is not None:
            events.append(event)
            if any(number >= last for number, _ in event["data"].get("lines", ())):
                return events
        raise AssertionError(f"the stream ended before line {last}: {events}")

    def close(self) -> None:
        """Go away."""
        self._client.close()


@pytest.fixture(scope="module")
def logs(
    tmp_path_factory: pytest.TempPathFactory, run_web: Callable[..., contextlib.AbstractContextManager[str]]
) -> Iterator[LogFarm]:
    """A farm for the tests of one file."""
    farm = LogFarm(tmp_path_factory.mktemp("farm"))
    with run_web(farm.folder) as url:
        farm.url = url
        yield farm
    farm.database.close()


@pytest.fixture
def http(logs: LogFarm) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=logs.url, timeout=60) as client:
        yield client


@pytest.fixture
def follow(logs: LogFarm) -> Iterator[Callable[..., Events]]:
    """Follow a job's log; ended after the test."""
    opened: list[Events] = []

    def start(job: int, offset: int = 0, **headers: str) -> Events:
        opened.append(Events(f"{logs.url}/api/v1/jobs/{job}/log/live?offset={offset}", **headers))
        return opened[-1]

    yield start
    for events in opened:
        events.close()


@pytest.fixture(scope="session")
def soon() -> Callable[[Callable[[], object]], None]:
    """Wait until a condition holds."""

    def wait(condition: Callable[[], object]) -> None:
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end, "it did not come in time"
            time.sleep(0.02)

    return wait
