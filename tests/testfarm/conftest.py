# SPDX-License-Identifier: Apache-2.0
"""A farm's database, git repositories, services on a clock that stands still, and the engine as a real process."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from allotment.codec import dumps
from allotment.messages.job import Lease
from allotment_master.kit.database import Database, sqlite_url
from allotment_testfarm.db import claims, nodes, projects, waiting
from allotment_testfarm.db.leases import LeaseTerms
from allotment_testfarm.discovery import Release
from allotment_testfarm.engine.naming import own
from allotment_testfarm.engine.queue import ReadyQueue
from allotment_testfarm.engine.schedule import Scheduled, schedule
from allotment_testfarm.git import Commit
from allotment_testfarm.logs.reader import Log
from allotment_testfarm.wire import Heartbeat, JobResult, LeaseRequest, NodeHello

NOW = 1_000_000.0


@pytest.fixture
def farm_database(database_url: str) -> Iterator[Database]:
    """An empty farm's database, once of each kind."""
    database = Database(database_url)
    database.upgrade("allotment_testfarm")
    yield database
    database.close()


@pytest.fixture
def sqlite_farm(tmp_path: Path) -> Iterator[Database]:
    """An empty farm's database on SQLite, for tests that are not about SQL."""
    database = Database(sqlite_url(str(tmp_path / "farm.sqlite")))
    database.upgrade("allotment_testfarm")
    yield database
    database.close()


@dataclass
class Filled:
    """Calls that fill a database through the same functions as the engine."""

    database: Database
    terms: LeaseTerms = field(default_factory=LeaseTerms)
    now: float = NOW
    count: int = 0

    def run(self, call: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """One writing transaction."""
        with self.database.write() as connection:
            return call(connection, *arguments, **keywords)

    @property
    def project(self) -> int:
        return self.run(projects.ensure, "main", "/repository", "", self.now).id

    def revision(self, *releases: str, **details: Any) -> Scheduled:
        """Add a commit with jobs for the releases."""
        self.count += 1
        commit = Commit(f"{self.count:040x}", f"{self.count:040x}", "Ada", self.now, f"change {self.count}")
        wanted = [Release(name, f"software/{name}/software.cfg", **details) for name in releases]
        made = self.run(schedule, self.project, commit, wanted, self.now)
        assert made is not None
        return made

    def claim(self, node: str = "n1", kinds: tuple[str, ...] = ("release",)) -> Lease | None:
        """Lease the next job to a test node that has just said hello, and nothing of its environment."""
        self.run(nodes.hello, node, "linux-x86_64", 1, "0.1", self.now)
        return self.take(node, kinds)

    def take(self, node: str = "n1", kinds: tuple[str, ...] = ("release",)) -> Lease | None:
        """Lease the next job to a test node that is known, in the order of the engine's queue."""
        asker = self.run(nodes.seen, node, self.now)
        queue = ReadyQueue(self.terms.longest)
        for job in self.run(waiting.load, self.run(waiting.all_ids)):
            queue.add(job, self.now)
        while (picked := queue.pick(asker, kinds)) is not None:
            found = self.run(claims.claim, picked.job, asker, self.now, self.terms)
            if isinstance(found, Lease):
                return found
        return None


@pytest.fixture
def filled(farm_database: Database) -> Filled:
    return Filled(farm_database)


@pytest.fixture
def filled_sqlite(sqlite_farm: Database) -> Filled:
    return Filled(sqlite_farm)


class InlineWorkers:
    """Runs blocking calls where they stand."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, call: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Any:
        with self._database.read() as connection:
            return call(connection, *arguments, **keywords)

    async def write(self, call: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Any:
        with self._database.write() as connection:
            return call(connection, *arguments, **keywords)

    async def prepared_write(
        self, prepare: Callable[[], Any], call: Callable[..., Any], /, *arguments: Any, **keywords: Any
    ) -> Any:
        return await self.write(lambda connection: call(connection, prepare(), *arguments, **keywords))

    async def blocking(self, call: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Any:
        return call(*arguments, **keywords)


@pytest.fixture
def workers(sqlite_farm: Database) -> InlineWorkers:
    return InlineWorkers(sqlite_farm)


@pytest.fixture
def clock() -> Clock:
    """A clock that shows NOW and moves only when told."""
    clock = Clock()
    clock.rightNow = NOW
    return clock


@pytest.fixture
def result_of() -> Callable[[Any], Any]:
    """Start a coroutine and return what it has returned; it must not wait for anything."""

    def run(coroutine: Any) -> Any:
        results: list[Any] = []
        failures: list[Any] = []
        Deferred.fromCoroutine(coroutine).addCallbacks(results.append, failures.append)
        if failures:
            failures[0].raiseException()
        assert results, "it still waits"
        return results[0]

    return run


class Repository:
    """A git repository with a working tree."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str) -> str:
        identity = {"NAME": "Ada", "EMAIL": "ada@example.org", "DATE": "2026-11-23T04:00:00Z"}
        people = {f"GIT_{who}_{key}": value for who in ("AUTHOR", "COMMITTER") for key, value in identity.items()}
        environment = {**os.environ, **people, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        command = ("git", "-c", "core.hooksPath=/dev/null", *arguments)
        done = subprocess.run(command, cwd=self.path, env=environment, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def put(self, name: str, text: str) -> None:
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def release(self, *names: str) -> str:
        """Commit a profile for each name and return the commit's hash."""
        for name in names:
            self.put(f"software/{name}/software.cfg", f"[buildout]\n# {time.monotonic_ns()}\n")
        return self.commit(f"add {' '.join(names)}")

    def commit(self, subject: str = "change") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", subject)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Return the first true value of ``condition``."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.02)
    return value


@pytest.fixture
def eventually() -> Callable[..., Any]:
    return wait_for


class Wire:
    """What a test node says to a real engine."""

    def __init__(self, url: str, token: str, name: str = "n1") -> None:
        self.name = name
        self.http = httpx2.Client(
            base_url=f"{url}/wire/v1/", headers={"Authorization": f"Bearer {token}"}, timeout=60.0, trust_env=False
        )

    def post(self, path: str, message: Any) -> httpx2.Response:
        return self.http.post(path, content=dumps(message))

    def hello(self) -> None:
        assert self.post("nodes", NodeHello(self.name, "linux-x86_64")).status_code == 200

    def lease(self, wait: float = 20.0) -> httpx2.Response:
        return self.post("lease", LeaseRequest(self.name, wait))

    def take(self, wait: float = 20.0) -> Any:
        """The JSON of a lease that comes in time."""
        answer = self.lease(wait)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def heartbeat(self, lease: int, fencing: int) -> httpx2.Response:
        return self.post(f"leases/{lease}/heartbeat", Heartbeat(fencing, 0.5, 1 << 30, 1 << 40))

    def log(self, lease: int, fencing: int, offset: int, data: bytes) -> httpx2.Response:
        query = {"fencing": fencing, "offset": offset}
        return self.http.post(f"leases/{lease}/log", params=query, content=data)

    def result(self, lease: int, result: JobResult) -> httpx2.Response:
        return self.post(f"leases/{lease}/result", result)


class FarmProcess:
    """``python -m allotment_testfarm <program>`` over one folder, any number of times."""

    def __init__(self, folder: Path, repository: Path, name: str = "") -> None:
        """``name`` is the engine's, where several share the folder."""
        self.folder = folder
        self.repository = repository
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder.with_name(own(name, f"{folder.name}.log"))

    def start(self, *options: str, program: str = "engine") -> dict[str, Any]:
        """Start it and return what its ready file says."""
        self.spawn(*options, program=program)
        ready = self.folder / own(self.name, "farm.json" if program == "run" else f"{program}.json")
        return wait_for(lambda: self._ready(ready))

    def spawn(self, *options: str, program: str = "engine") -> None:
        standard = ["--folder", str(self.folder), "--repository", str(self.repository), "--poll", "0.1"]
        standard += ["--name", self.name] if self.name else []
        command = (sys.executable, "-m", "allotment_testfarm", program, *standard, *options)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def _ready(self, ready: Path) -> Any:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            data = json.loads(ready.read_bytes())
        except (OSError, ValueError):
            return None
        return data if data["pid"] == self.process.pid else None

    def signal(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    def wire(self, url: str, name: str = "n1") -> Wire:
        wire = Wire(url, (self.folder / "node.token").read_text().strip(), name)
        wire.hello()
        return wire

    def text_of(self, log: str) -> bytes:
        """What an attempt's log says, packed or not."""
        with Log(self.folder / log) as opened:
            return b"".join(opened.blocks(0, opened.size))

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@pytest.fixture
def farm(tmp_path: Path, repository: Repository) -> Iterator[FarmProcess]:
    """A farm's program over ``repository``, not started yet, stopped after the test."""
    process = FarmProcess(tmp_path / "farm", repository.path)
    yield process
    process.close()


@pytest.fixture(scope="session")
def make_farm() -> Callable[[Path], FarmProcess]:
    """Return a farm's program in a folder, with an empty repository of its own; who calls it closes it."""

    def make(folder: Path) -> FarmProcess:
        return FarmProcess(folder / "farm", Repository(folder / "repository").path)

    return make
