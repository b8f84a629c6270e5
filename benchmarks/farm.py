# SPDX-License-Identifier: Apache-2.0
"""Our farm for benchmarks: an engine as a process of its own, and what else is wanted beside it."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from allotment.messages.job import Lease, Outcome, Step
from allotment.secret import Secret
from allotment_master.kit.database import Database, sqlite_url
from allotment_testfarm.db import jobs, revisions
from allotment_testfarm.discovery import Release
from allotment_testfarm.programs import Program, Programs
from allotment_testfarm.testnode.wire_client import WireClient
from allotment_testfarm.wire import JobResult, LeaseRequest, NodeHello, StepReport

PLATFORM = "any"
EMIT = Path(__file__).with_name("emit.py")


class Farm:
    """Use it as a context manager; ``database`` is a URL, or "" for a SQLite file in the farm's folder."""

    def __init__(self, folder: Path, database: str = "", poll: float = 0.1) -> None:
        self.folder = folder / "farm"
        self.repository = folder / "repository"
        self.url = database or sqlite_url(str(self.folder / "farm.sqlite"))
        self.database = Database(self.url)
        self.engine = 0  # its process
        self.wire = ""  # URL
        self._poll = poll
        self._programs = Programs()
        self._count = 0
        self._git("init", "-q", "-b", "main", str(self.repository))

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.database.upgrade("allotment_testfarm")
        self.commit([], copied=(EMIT,))
        try:
            self.start_engine()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop all that runs."""
        self._programs.stop()
        self.database.close()

    def start_engine(self) -> None:
        """Start the engine; it hears test nodes when this returns."""
        options = ["--repository", str(self.repository), "--poll", str(self._poll)]
        ready = self._start("engine", ["engine", *options, "--database", self.url], self.folder, "engine.json")
        self.engine, self.wire = ready["pid"], ready["url"]
        self._programs.wait("the first revision", self._has_revision, 60.0)

    def stop_engine(self) -> None:
        self._programs["engine"].stop()

    def start_web(self) -> str:
        """Start a web tier and return its URL."""
        ready = self._start("web", ["web", "--database", self.url], self.folder, "web.json")
        return str(ready["url"])

    def start_test_node(self, name: str) -> int:
        """Start a real test node of one slot and return its process."""
        options = ["--farm", self.wire, "--token-file", str(self.folder / "node.token"), "--name", name]
        folder = self.folder.with_name(name)
        ready = self._start(name, ["node", *options, "--grace", "0"], folder, "test-node.json")
        return int(ready["pid"])

    def client(self) -> WireClient:
        """Return a connection to the wire."""
        return WireClient(self.wire, Secret((self.folder / "node.token").read_text().strip()))

    def commit(self, releases: Sequence[str], copied: Sequence[Path] = ()) -> str:
        """Make a revision in which these releases have changed; the engine makes one job of each."""
        self._count += 1
        for path in copied:
            (self.repository / path.name).write_bytes(path.read_bytes())
        for name in releases:
            profile = self.repository / "software" / name / "software.cfg"
            profile.parent.mkdir(parents=True, exist_ok=True)
            profile.write_text(f"[buildout]\nparts =\n# {self._count}\n")
        self._git("-C", str(self.repository), "add", "-A")
        self._git("-C", str(self.repository), "commit", "-q", "--allow-empty", "-m", f"number {self._count}")
        return self._git("-C", str(self.repository), "rev-parse", "HEAD").strip()

    def command_jobs(self, count: int, *words: str) -> tuple[int, ...]:
        """Let jobs wait that run one command each, as a plugin would; the engine finds them at its next look."""
        self._count += 1
        options = {"command": list(words)}
        wanted = [
            Release(f"command-{self._count}-{number}", "software.cfg", "command", options=options, is_fresh=True)
            for number in range(count)
        ]
        with self.database.write() as connection:
            newest = revisions.page(connection, 1, 1)[0]
            return jobs.create(connection, 1, newest.id, newest.position, wanted, time.time())

    def job(self, number: int) -> jobs.JobSummary:
        with self.database.read() as connection:
            found = jobs.get(connection, number)
        if found is None:
            raise RuntimeError(f"there is no job {number}")
        return found

    def wait(self, number: int, seconds: float = 120.0) -> jobs.JobSummary:
        """Wait until a job is done; one that did not pass is an error."""
        found = self._programs.wait(f"job {number}", lambda: self._done(number), seconds)
        if found.outcome is not Outcome.PASSED:
            raise RuntimeError(f"job {number}: {found.outcome}")
        return found

    def _has_revision(self) -> bool:
        with self.database.read() as connection:
            return bool(revisions.page(connection, 1, 1))

    def _done(self, number: int) -> jobs.JobSummary | None:
        found = self.job(number)
        return None if found.outcome is None else found

    def _start(self, name: str, arguments: list[str], folder: Path, ready: str) -> dict[str, Any]:
        program = Program(name, "allotment_testfarm", [*arguments, "--folder", str(folder)], folder, ready)
        program.log = folder.with_name(f"{name}.log")
        return self._programs.start(program)

    @staticmethod
    def _git(*words: str) -> str:
        identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
        done = subprocess.run(["git", *identity, *words], check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout


class Node:
    """A test node that costs nothing: it says at once that the job has passed, over the real wire."""

    def __init__(self, client: WireClient, name: str) -> None:
        self._client = client
        self._name = name
        self.greet()

    def greet(self) -> None:
        self._client.hello(NodeHello(self._name, PLATFORM))

    def lease(self, wait: float = 20.0) -> Lease:
        """Wait for a job."""
        lease = self._client.lease(LeaseRequest(self._name, wait=wait))
        if lease is None:
            raise RuntimeError(f"no job came within {wait:g} s")
        return lease

    def work(self, lease: Lease) -> None:
        """Do what a test node does with a job of one step that prints one line."""
        now = time.time()
        self._client.log(lease.id, lease.fencing, 0, b"done\n")
        step = Step("command", now, now, Outcome.PASSED)
        self._client.steps(lease.id, StepReport(lease.fencing, (step,)))
        self.end(lease, (step,))

    def end(self, lease: Lease, steps: tuple[Step, ...] = ()) -> None:
        self._client.result(lease.id, JobResult(lease.fencing, Outcome.PASSED, steps=steps))


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process so far, with those of the children that it has waited for."""
    return float(sum(psutil.Process(pid).cpu_times()[:4]))
