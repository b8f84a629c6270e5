# SPDX-License-Identifier: Apache-2.0
"""A farm with a history, and the web tier over it as a real process."""

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
import sqlalchemy as sa

from allotment.codec import encode
from allotment.messages.job import BuiltPart, JobState, KeptPromise, Outcome, Step
from allotment.messages.manifest import Blob, ReleaseManifest, Signature, SignedManifest, SoftwareType
from allotment_master.kit.database import Database, sqlite_url
from allotment_testfarm.db import inputs, manifests, nodes, projects
from allotment_testfarm.db.schema import attempts, jobs, revisions, test_cases

HOSTILE = "<script>alert('owned')</script>\"><img src=x onerror=alert(1)>"
RELEASES = [
    *("apache", "erp5", "helloworld", "html5as", "jupyter", "kvm", "mariadb", "mastodon", "monitor", "nginx"),
    *(
        "powerdns",
        "proftpd",
        "rapid-cdn",
        "re6stnet",
        "repman",
        "rsync-server",
        "theia",
        "turnserver",
        "wendelin",
        "zope",
    ),
]
AUTHORS = ("Ada Okafor", "Bruno Lindqvist", "Chiyo Tanaka", "Deniz Acar", "Eun-ji Park")
SUBJECTS = (
    "nginx: answer on IPv6 as well",
    "recipes: check octal modes before writing",
    "kvm: give the guest the entropy that it asks for",
    "component/openssl: 3.5.4 -> 3.5.5",
    "promises: say which port was closed",
    "mariadb: wait for recovery before the promise runs",
    "helloworld: show who asks",
    "stack/monitor: keep feeds for thirty days and not for three",
)


@dataclass(frozen=True)
class Sample:
    """The folder of a farm with a history, and the ids that tests ask for."""

    folder: Path
    red: int  # three attempts, failed test cases, a coloured log
    green: int  # with a manifest
    running: int
    waiting: int
    hostile: int  # whoever could write a text has written markup and control characters
    hostile_commit: str
    long: int  # a log that no page shows whole
    proved: int  # not run, because ``proof`` had the same inputs
    proof: int


class Builder:
    """Fills a farm's tables; everything is drawn from one seed."""

    def __init__(self, database: Database, folder: Path, now: float) -> None:
        self.database = database
        self.folder = folder
        self.now = now
        self.lines: dict[str, int] = {}  # of the log, by the name of a test case
        self.random = random.Random(20261123)

    def project(self, name: str, repository: str, count: int, releases: list[str]) -> dict[tuple[int, str], int]:
        """Add ``count`` revisions of a project with a job for each release; return job ids by (position, release)."""
        with self.database.write() as connection:
            project = projects.ensure(connection, name, repository, "main", self.now).id
            projects.note_poll(connection, project, self.now)
            ids: dict[tuple[int, str], int] = {}
            since: dict[str, tuple[str, str]] = {}
            for position in range(1, count + 1):
                revision = self._revision(connection, project, name, position, count)
                for release in releases if position % 7 else releases[1:] or releases:
                    ids[position, release] = self._job(connection, project, revision, position, release, since)
        return ids

    def _revision(self, connection: sa.Connection, project: int, name: str, position: int, count: int) -> sa.Row:
        moment = self.now - (count - position) * 5400 - self.random.randrange(5000) - 240
        is_hostile = position == count // 2
        subject = HOSTILE if is_hostile else SUBJECTS[(position * 3) % len(SUBJECTS)]
        author = HOSTILE if is_hostile else AUTHORS[position % len(AUTHORS)]
        values = {
            "project_id": project,
            "commit": hashlib.sha1(f"{name}{position}".encode()).hexdigest(),
            "tree": hashlib.sha1(f"tree{position}".encode()).hexdigest(),
            "author": author,
            "time": moment,
            "subject": subject,
            "position": position,
            "seen": moment + 3,
        }
        connection.execute(sa.insert(revisions).values(values))
        return connection.execute(
            sa.select(revisions).where(revisions.c.project_id == project, revisions.c.position == position)
        ).one()

    def _job(
        self,
        connection: sa.Connection,
        project: int,
        revision: sa.Row,
        position: int,
        release: str,
        since: dict[str, tuple[str, str]],
    ) -> int:
        colour, commit = since.get(release, ("green", revision.commit))
        flips = self.random.random() < (0.03 if colour == "green" else 0.3)
        fresh = {"green": "red", "red": "green"}[colour] if flips else colour
        commit = commit if fresh == colour else revision.commit
        since[release] = fresh, commit
        verdict = {("green", "green"): "passed", ("red", "green"): "fixed", ("green", "red"): "new-failure"}.get(
            (colour, fresh), "still-failing"
        )
        started = revision.seen + self.random.random() * 4
        took = 20 + 400 * self.random.random() ** 3
        values = {
            "project_id": project,
            "revision_id": revision.id,
            "position": position,
            "release": release,
            "profile": f"software/{release}/software.cfg",
            "kind": "release",
            "platform": "any",
            "timeout": 3600.0,
            "options": {},
            "state": JobState.DONE,
            "outcome": Outcome.PASSED if fresh == "green" else Outcome.FAILED,
            "verdict": verdict,
            "colour": fresh,
            "verdict_detail": "7 test cases passed" if fresh == "green" else "2 of 9 test cases failed",
            "verdict_since": commit,
            "created": revision.seen,
            "started": started,
            "ended": started + took,
        }
        return connection.execute(sa.insert(jobs).values(values).returning(jobs.c.id)).scalar_one()

    def change(self, job: int, **values: object) -> None:
        """Set columns of a job."""
        with self.database.write() as connection:
            connection.execute(sa.update(jobs).where(jobs.c.id == job).values(**values))

    def change_attempt(self, attempt: int, **values: object) -> None:
        """Set columns of an attempt."""
        with self.database.write() as connection:
            connection.execute(sa.update(attempts).where(attempts.c.id == attempt).values(**values))

    def nightly(self, job: int) -> None:
        """Add a job like another that has ended, from scratch."""
        with self.database.write() as connection:
            row = connection.execute(sa.select(jobs).where(jobs.c.id == job)).one()._asdict()
            ended = {"state": JobState.DONE, "outcome": Outcome.PASSED, "verdict": "passed", "colour": "green"}
            times = {"started": row["created"] + 5, "ended": row["created"] + 905}
            connection.execute(sa.insert(jobs).values({**row, **ended, **times, "id": None, "kind": "from-scratch"}))

    def attempt(self, job: int, number: int, node: str, **values: object) -> int:
        """Add an attempt."""
        with self.database.write() as connection:
            row = connection.execute(sa.select(jobs).where(jobs.c.id == job)).one()
            defaults = {
                "job_id": job,
                "number": number,
                "node": node,
                "fencing": number,
                "started": row.started or self.now - 30,
                "expires": self.now + 60,
                "deadline": self.now + 3600,
                "ended": row.ended,
                "outcome": row.outcome,
                "steps": [],
                "log": f"logs/{job}-{number}.log",
            }
            statement = sa.insert(attempts).values({**defaults, **values}).returning(attempts.c.id)
            return connection.execute(statement).scalar_one()

    def steps(self, began: float, *lengths: tuple[str, float | None, Outcome | None]) -> list[object]:
        """Return steps one after the other."""
        made = []
        for name, seconds, outcome in lengths:
            ended = None if seconds is None else began + seconds
            made.append(encode(Step(name, began, ended, outcome)))
            began = ended or began
        return made

    def log(self, job: int, number: int, lines: list[str]) -> None:
        """Write an attempt's log."""
        path = self.folder / "logs" / f"{job}-{number}.log"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n")

    def cases(self, attempt: int, *cases: tuple[str, str, str, float, str]) -> None:
        """Add test cases: suite, name, outcome, seconds, message; each where the log names it."""
        names = ("attempt_id", "suite", "name", "outcome", "seconds", "message")
        with self.database.write() as connection:
            connection.execute(
                sa.insert(test_cases),
                [
                    {**dict(zip(names, (attempt, *case), strict=True)), "line": self.lines.get(case[1])}
                    for case in cases
                ],
            )


def _red(builder: Builder, job: int) -> None:
    began = builder.now - 3000
    failed = {"outcome": Outcome.FAILED, "verdict": "new-failure", "colour": "red"}
    builder.change(job, verdict_detail=_DETAIL, created=began - 4, started=began, ended=began + 161, **failed)
    lost = {"started": began, "ended": began + 18, "outcome": Outcome.LOST}
    builder.attempt(job, 1, "node-2", reason="the test node was silent for 15 s", **lost)
    full = {"started": began + 20, "ended": began + 38, "outcome": Outcome.INFRASTRUCTURE}
    builder.attempt(job, 2, "node-3", reason="no space left on device", **full)
    steps = builder.steps(
        began + 41,
        ("source", 0.6, Outcome.PASSED),
        ("build", 34.2, Outcome.PASSED),
        ("instance", 6.1, Outcome.PASSED),
        ("promises", 3.9, Outcome.PASSED),
        ("tests", 74.8, Outcome.FAILED),
    )
    values = {"started": began + 40.5, "ended": began + 161, "outcome": Outcome.FAILED, "steps": steps}
    values |= {"parts": _parts(began + 41.8), "promises": _promises()}
    builder.lines = {
        "test_requests_are_balanced": 241,
        "test_dead_backend_is_left_out": 242,
        "test_log_is_rotated": 250,
    }
    attempt = builder.attempt(job, 3, "node-1", reason="2 test cases failed", **values)
    builder.cases(
        attempt,
        ("test_service.TestBalance", "test_requests_are_balanced", "passed", 1.1, ""),
        ("test_service.TestBalance", "test_dead_backend_is_left_out", "failed", 12.4, _TRACEBACK),
        (
            "test_service.TestLogs",
            "test_log_is_rotated",
            "error",
            3.0,
            "fixture 'rotated': FileNotFoundError: access.log",
        ),
        ("test_service.TestLogs", "test_log_names_the_client", "passed", 0.4, ""),
        ("test_promises", "test_promises_are_green", "passed", 2.2, ""),
        ("test_promises", "test_port_closes_when_stopped", "passed", 5.0, ""),
        ("test_upgrade", "test_upgrade_keeps_data", "skipped", 0.0, "needs an older release"),
        ("test_upgrade", "test_schema_is_valid", "passed", 0.1, ""),
    )
    lines = [f"\x1b[34m{index / 10:7.1f}\x1b[0m fetching part {index} of 240" for index in range(240)]
    lines += ["\x1b[1mtest_service.py\x1b[0m::TestBalance::test_requests_are_balanced \x1b[32mPASSED\x1b[0m"]
    lines += ["test_service.py::TestBalance::test_dead_backend_is_left_out \x1b[31mFAILED\x1b[0m"]
    lines += [f"    {line}" for line in _TRACEBACK.splitlines()]
    lines += ["test_service.py::TestLogs::test_log_is_rotated \x1b[33mERROR\x1b[0m"]
    lines += ["\x1b[31m1 failed\x1b[0m, \x1b[32m5 passed\x1b[0m, 1 skipped, \x1b[33m1 error\x1b[0m in 74.80s"]
    builder.log(job, 3, lines)
    builder.log(job, 1, ["the first attempt"])


def _parts(began: float) -> object:
    """Parts that are built two at a time, and parts that were there."""
    built = {"zlib": 1.2, "openssl": 21.4, "pcre2": 6.3, "libxml2": 9.0, "nginx": 9.8}
    made, free = [], [began, began]
    for name, seconds in built.items():
        free.sort()
        made.append(BuiltPart(name, "1.2.3", free[0], seconds))
        free[0] += seconds
    return encode([*made, *(BuiltPart(name, "4.5", began, 0.0, True) for name in ("python3", "gcc", "perl", "cmake"))])


def _promises() -> object:
    found = [("nginx-frontend", "failed", "127.0.0.1:8443: connection refused"), ("nginx-pid", "passed", "runs")]
    return encode([KeptPromise("balancer", f"{name}.py", status, text) for name, status, text in found])


_DETAIL = "2 of 8 test cases failed, the first test_dead_backend_is_left_out"
_TRACEBACK = """AssertionError: 502 != 200

    def test_dead_backend_is_left_out(service):
        service.stop_backend(1)
>       assert service.get("/").status_code == 200
E       assert 502 == 200
E        +  where 502 = <Response [502 Bad Gateway]>.status_code"""


def _hostile(builder: Builder, job: int) -> None:
    builder.change(job, outcome="failed", verdict="new-failure", colour="red", verdict_detail=HOSTILE)
    attempt = builder.attempt(job, 1, HOSTILE, reason=HOSTILE, steps=builder.steps(builder.now, (HOSTILE, 1.0, None)))
    builder.change_attempt(
        attempt,
        parts=encode([BuiltPart(HOSTILE, HOSTILE, builder.now, 1.0), BuiltPart(HOSTILE, "", builder.now, 0.0, True)]),
        promises=encode([KeptPromise(HOSTILE, HOSTILE, "error", HOSTILE)]),
    )
    builder.cases(attempt, (HOSTILE, HOSTILE, "failed", 0.1, HOSTILE), (HOSTILE, HOSTILE, "skipped", 0.1, HOSTILE))
    builder.log(
        job, 1, [HOSTILE, "\x1b]0;title\x07\x00ten\rtwenty", f"\x1b[31m{HOSTILE}", "\u202elive", "\x1b[0m& done"]
    )


def _green(builder: Builder, job: int) -> None:
    kind = SoftwareType("Hello", "Says hello.", "instance.cfg", {}, {})
    manifest = ReleaseManifest(
        name="helloworld",
        profile="software/helloworld/software.cfg",
        closure=Blob("ab" * 32, 48_213),
        software_types={"default": kind},
        parts={"x86_64-linux-gnu": {"service": "cd" * 32}},
        licences=("Apache-2.0",),
    )
    signed = SignedManifest(manifest, (Signature("ed25519:" + "A" * 43 + "=", "B" * 86 + "=="),))
    began = builder.now - 60
    lengths = {"source": 0.3, "build": 2.4, "instance": 1.2, "promises": 0.4, "tests": 5.1}
    steps = builder.steps(began, *((name, seconds, Outcome.PASSED) for name, seconds in lengths.items()))
    times = {"started": began, "ended": began + 9.4, "outcome": Outcome.PASSED}
    builder.change(job, verdict="passed", colour="green", verdict_detail="7 test cases passed", created=began, **times)
    attempt = builder.attempt(job, 1, "node-2", steps=steps, manifest=manifest.sha256, **times)
    builder.log(job, 1, ["building", "built", "7 passed in 5.10s"])
    builder.cases(attempt, *(("test_hello", f"test_answer_{number}", "passed", 0.7, "") for number in range(7)))
    with builder.database.write() as connection:
        manifests.add(connection, signed, attempt, builder.now)
        manifests.note_offer(connection, manifest.sha256, builder.now)


def _unfinished(builder: Builder, running: int, waiting: int) -> None:
    words = ("outcome", "verdict", "colour", "verdict_since", "ended")
    nothing = {**dict.fromkeys(words), "verdict_detail": ""}
    began = builder.now - 47
    builder.change(running, state=JobState.LEASED, started=began, created=began - 2, **nothing)
    done = Outcome.PASSED
    steps = builder.steps(began, ("source", 0.5, done), ("build", 21.0, done), ("instance", None, None))
    builder.attempt(running, 1, "node-1", started=began, ended=None, outcome=None, steps=steps)
    builder.log(running, 1, ["fetching", "building", "processing the instance"])
    builder.change(waiting, state=JobState.WAITING, created=builder.now - 47, started=None, **nothing)


def _inputs(builder: Builder, before: int, after: int) -> None:
    """Other inputs of two jobs, the names of some being markup."""
    same = {"software/kvm/software.cfg": "100644 1"}
    with builder.database.write() as connection:
        before_files = {**same, "components/qemu/buildout.cfg": "100644 1", "gone.patch": "100644 1"}
        old = inputs.put(connection, {"software/kvm/": inputs.put(connection, before_files)})
        after_files = {**same, "components/qemu/buildout.cfg": "100644 2", HOSTILE: "100644 1"}
        new = inputs.put(connection, {"software/kvm/": inputs.put(connection, after_files)})
        python = inputs.put(connection, {"python": "3.11.2", HOSTILE: "1"})
        newer = inputs.put(connection, {"python": "3.13.5", HOSTILE: HOSTILE})
    builder.change(before, files=old, environment=python)
    builder.change(after, files=new, environment=newer, compared_with=before, input_hash="e" * 64)


def _nodes(builder: Builder) -> None:
    with builder.database.write() as connection:
        for index, platform in enumerate(("x86_64-linux-gnu", "x86_64-linux-gnu", "aarch64-linux-gnu"), 1):
            last = builder.now + (-4000 if index == 3 else 3600)  # connected as long as the tests run
            nodes.hello(connection, f"node-{index}", platform, 2, "0.1", last)
            figures = {"load": 0.4 * index, "memory_free": index * 3_400_000_000, "disk_free": index * 81_000_000_000}
            refuses = "0.3 GB of disk is left, 2 GB are wanted" if index == 2 else ""
            nodes.seen(connection, f"node-{index}", last, refuses=refuses, **figures)


@pytest.fixture(scope="session")
def sample() -> Iterator[Sample]:
    """A farm of two projects: 20 releases x 100 revisions, and helloworld alone; hostile text wherever text goes."""
    with tempfile.TemporaryDirectory(prefix="farm") as name:
        folder = Path(name)
        database = Database(sqlite_url(str(folder / "farm.sqlite")))
        database.upgrade("allotment_testfarm")
        builder = Builder(database, folder, time.time())
        big = builder.project("allotment", "https://user:hidden-password@git.example.org/allotment.git", 100, RELEASES)
        small = builder.project("hello", "/srv/git/hello", 9, ["helloworld"])
        _nodes(builder)
        _red(builder, big[100, "nginx"])
        _hostile(builder, big[50, "kvm"])
        _green(builder, small[9, "helloworld"])
        _unfinished(builder, big[100, "kvm"], big[100, "wendelin"])
        _inputs(builder, big[49, "kvm"], big[50, "kvm"])
        for position in (60, 80, 100):
            builder.nightly(big[position, "kvm"])
        builder.change(small[8, "helloworld"], proved_by=small[7, "helloworld"], started=None)
        builder.attempt(big[99, "zope"], 1, "node-1")
        builder.log(big[99, "zope"], 1, [f"line {index} of a long build" for index in range(1, 60_001)])
        with database.read() as connection:
            query = sa.select(revisions.c.commit).join(jobs, jobs.c.revision_id == revisions.c.id)
            commits = {job: connection.execute(query.where(jobs.c.id == job)).scalar_one() for job in big.values()}
        builder.change(big[100, "nginx"], verdict_since=commits[big[100, "nginx"]])
        database.close()
        yield Sample(
            folder=folder,
            red=big[100, "nginx"],
            green=small[9, "helloworld"],
            running=big[100, "kvm"],
            waiting=big[100, "wendelin"],
            hostile=big[50, "kvm"],
            hostile_commit=commits[big[50, "kvm"]],
            long=big[99, "zope"],
            proved=small[8, "helloworld"],
            proof=small[7, "helloworld"],
        )


@contextlib.contextmanager
def _running_web(folder: Path, *arguments: str) -> Iterator[str]:
    log = folder / "web.log"
    with log.open("ab") as output:
        command = [sys.executable, "-m", "allotment_testfarm", "web", "--folder", str(folder), *arguments]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 60
        ready = folder / "web.json"
        while not ready.exists():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield json.loads(ready.read_text())["url"]
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            raise
    assert process.returncode == 0, log.read_text()


@pytest.fixture(scope="session")
def run_web() -> Callable[..., contextlib.AbstractContextManager[str]]:
    """Run the web tier over a folder as a real process; gives its URL, and holds it to a clean stop."""
    return _running_web


@pytest.fixture(scope="session")
def site(sample: Sample) -> Iterator[str]:
    """The URL of the web tier over the sample."""
    with _running_web(sample.folder) as url:
        yield url


@pytest.fixture
def client(site: str) -> Iterator[httpx2.Client]:
    """An HTTP client of the sample's web tier."""
    with httpx2.Client(base_url=site, timeout=60) as connected:
        yield connected
