# SPDX-License-Identifier: Apache-2.0
"""The wire over a real port: a real engine process, spoken to as a test node does."""

import hashlib
import io
import signal
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from allotment.codec import dumps
from allotment.messages.job import CaseOutcome, Outcome, Step, TestCase
from allotment.messages.manifest import Blob, ReleaseManifest
from allotment_master.kit.database import Database, sqlite_url
from allotment_testfarm.db import attempts, jobs, manifests, nodes
from allotment_testfarm.wire import JobResult, StepReport


@dataclass
class Running:
    """An engine that has been started, its database and a test node's connection."""

    process: Any
    url: str
    wire: Any
    database: Database

    def read(self, call: Callable[..., Any], *arguments: Any) -> Any:
        with self.database.read() as connection:
            return call(connection, *arguments)

    def restart(self) -> None:
        """Start again at the same port, as `allot farm run` does after the engine died."""
        port = self.url.rpartition(":")[2]
        assert self.process.start("--wire-port", port)["url"] == self.url


@pytest.fixture
def running(farm: Any) -> Iterator[Running]:
    document = farm.start()
    database = Database(sqlite_url(str(farm.folder / "farm.sqlite")))
    yield Running(farm, document["url"], farm.wire(document["url"]), database)
    database.close()


def test_a_commit_becomes_a_lease_a_result_and_a_signed_manifest(running: Running, repository: Any) -> None:
    head = repository.release("helloworld", "stack")
    lease = running.wire.take()
    assert (lease["job"]["revision"], lease["job"]["release"]) == (head, "helloworld")
    assert lease["job"]["profile"] == "software/helloworld/software.cfg"
    source = running.wire.http.get(f"source/{head}").content
    with tarfile.open(fileobj=io.BytesIO(source)) as tar:
        assert "software/helloworld/software.cfg" in tar.getnames()

    number, fencing = lease["id"], lease["fencing"]
    assert running.wire.log(number, fencing, 0, b"building\n").json()["acknowledged"] == 9
    steps = (Step("build", 1.0, 2.0, Outcome.PASSED),)
    assert running.wire.post(f"leases/{number}/steps", StepReport(fencing, steps)).status_code == 204
    assert running.read(attempts.detail, lease["job"]["id"]).attempts[0].steps == steps
    assert running.wire.heartbeat(number, fencing).json()["cancel"] is False
    closure = b"closure" * 200_000  # goes through a file
    sha256 = hashlib.sha256(closure).hexdigest()
    assert running.wire.http.put(f"blobs/{sha256}", content=closure).status_code == 201
    manifest = ReleaseManifest("helloworld", "software.cfg", Blob(sha256, len(closure)), {}, {})
    cases = (TestCase("suite", "<b>it answers</b>", CaseOutcome.PASSED, 0.1),)
    result = JobResult(fencing, Outcome.PASSED, "", steps, cases, manifest)
    assert running.wire.result(number, result).status_code == 204
    assert running.wire.result(number, result).status_code == 204

    detail = running.read(attempts.detail, lease["job"]["id"])
    assert (detail.job.verdict.name, detail.attempts[0].cases) == ("passed", cases)
    assert running.process.text_of(detail.attempts[0].log) == b"building\n"
    assert detail.attempts[0].log_bytes == 9
    assert running.read(manifests.get, manifest.sha256).signed.signatures[0].key == (
        (running.process.folder / "signing.pub").read_text().strip()
    )
    assert (running.process.folder / "node.token").stat().st_mode & 0o777 == 0o600
    assert (running.process.folder / "signing.key").stat().st_mode & 0o777 == 0o600


def test_a_test_node_that_waits_gets_the_job_of_a_new_commit(running: Running, repository: Any) -> None:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(running.wire.take()))
    thread.start()
    head = repository.release("a")
    thread.join(60)
    assert answers[0]["job"]["revision"] == head


def test_a_wait_that_is_over_is_answered_with_nothing(shared: Running) -> None:
    began = time.monotonic()
    assert shared.wire.lease(wait=0.3).status_code == 204
    assert 0.3 <= time.monotonic() - began < 20


def test_a_job_waits_milliseconds_for_an_idle_test_node(running: Running, repository: Any) -> None:
    """From the job's row to its lease, as the engine's own times say; the budget is 30 ms on a quiet machine."""
    running.wire.lease(wait=0.1)
    waits = []
    for name in ("a", "b", "c", "d"):
        answers: list[Any] = []
        thread = threading.Thread(target=lambda found=answers: found.append(running.wire.take()))
        thread.start()
        repository.release(name)
        thread.join(60)
        job = running.read(jobs.get, answers[0]["job"]["id"])
        waits.append(job.started - job.created)
        for lease in (answers[0], *(running.wire.take(1) for _ in waits[1:])):  # each commit has all releases so far
            running.wire.result(lease["id"], JobResult(lease["fencing"], Outcome.PASSED))
    assert min(waits) <= 0.2  # loaded machines; a poll would be far above


def test_a_log_is_acknowledged_repeated_and_never_holed(running: Running, repository: Any) -> None:
    repository.release("a")
    lease = running.wire.take()
    number, fencing = lease["id"], lease["fencing"]
    assert running.wire.log(number, fencing, 0, b"one").json() == {"format": 1, "acknowledged": 3}
    assert running.wire.log(number, fencing, 0, b"one").json()["acknowledged"] == 3
    gap = running.wire.log(number, fencing, 5, b"late")
    assert (gap.status_code, gap.json()["acknowledged"]) == (416, 3)
    assert running.wire.log(number, fencing, 2, b"e two").json()["acknowledged"] == 7
    stale = running.wire.log(number, fencing + 1, 7, b"x")
    assert stale.status_code == 409
    assert stale.json() == {
        "error": f"lease {number} has fencing {fencing}, not {fencing + 1}",
        "fix": "Stop the job and take another lease",
    }
    log = running.process.folder / "logs" / str(lease["job"]["id"]) / "1.log"
    assert log.read_bytes() == b"one two"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, make_farm: Callable[[Path], Any]) -> Iterator[Running]:
    """One engine for the tests that change nothing."""
    farm = make_farm(tmp_path_factory.mktemp("shared"))
    url = farm.start()["url"]
    database = Database(sqlite_url(str(farm.folder / "farm.sqlite")))
    yield Running(farm, url, farm.wire(url), database)
    database.close()
    farm.close()


@pytest.mark.parametrize("path", ["nodes", "lease", "leases/1/heartbeat", "blobs/" + "0" * 64, "nowhere"])
def test_a_wrong_token_is_refused_before_anything_is_read(shared: Running, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}):
        answer = httpx2.post(f"{shared.url}/wire/v1/{path}", headers=headers, content=b"x" * 300_000)
        assert answer.status_code == 401
        assert answer.json() == {"error": "the token is not this farm's", "fix": "Use the farm's node.token"}
    assert list((shared.process.folder / "temporary").iterdir()) == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("POST", "nodes", b"{", 400, "request: node-hello is not JSON"),
        ("POST", "nodes", b'{"format":1,"name":"n"}', 400, "request: node-hello lacks the field 'platform'"),
        ("POST", "lease", b'{"format":9,"node":"n1"}', 400, "request: lease-request has format 9; allotment"),
        ("POST", "lease", b'{"format":1,"node":"n9"}', 404, "test node 'n9' is not known"),
        ("POST", "lease", b'{"format":1,"node":"' + b"n" * 70_000 + b'"}', 413, "the body is larger than 65536 bytes"),
        ("POST", "leases/77/heartbeat", b'{"format":1,"fencing":1}', 409, "lease 77 is not known"),
        (
            "POST",
            "leases/77/result",
            b'{"format":2,"fencing":1,"outcome":"passed"}',
            400,
            "request: job-result has format",
        ),
        (
            "POST",
            "leases/77/result",
            b'{"format":1,"fencing":1,"outcome":"fine"}',
            400,
            "request: job-result.outcome is",
        ),
        ("POST", "leases/77/log", b"x", 400, "the query's fencing is no whole number"),
        ("POST", "leases/77/log?fencing=1&offset=-1", b"x", 400, "the query's offset is no whole number"),
        ("PUT", "blobs/" + "0" * 64, b"x", 400, "the sha256 should be 0000"),
        ("PUT", "blobs/xyz", b"x", 404, "there is no /wire/v1/blobs/xyz"),
        ("GET", "source/" + "0" * 40, b"", 404, f"revision {'0' * 40} is not known"),
        ("GET", "source/HEAD", b"", 404, "there is no /wire/v1/source/HEAD"),
        ("GET", "lease", b"", 405, "/wire/v1/lease is not called by GET"),
    ],
)
def test_bad_requests_are_refused_with_what_is_wrong(
    shared: Running, method: str, path: str, body: bytes, status: int, error: str
) -> None:
    answer = shared.wire.http.request(method, path, content=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"].startswith(error)
    assert shared.wire.lease(wait=0).status_code == 204


def test_an_unknown_format_names_the_version_that_reads_it(shared: Running) -> None:
    answer = shared.wire.http.post("leases/1/result", content=b'{"format":7}')
    assert answer.json()["fix"] == "Read it with the allotment version that wrote it, or a later one"


def test_an_expired_lease_is_lost_and_another_test_node_goes_on(farm: Any, repository: Any) -> None:
    repository.release("a")
    url = farm.start("--lease", "8")["url"]  # time for the new one's result
    first, second = farm.wire(url, "n1"), farm.wire(url, "n2")
    old = first.take()
    new = second.take()  # n1 stays silent
    assert (new["job"]["id"], new["attempt"], new["fencing"]) == (old["job"]["id"], 2, old["fencing"] + 1)
    assert first.heartbeat(old["id"], old["fencing"]).status_code == 409
    assert first.result(old["id"], JobResult(old["fencing"], Outcome.PASSED)).status_code == 409
    assert second.result(new["id"], JobResult(new["fencing"], Outcome.PASSED)).status_code == 204


def test_a_killed_engine_goes_on_where_it_was(running: Running, repository: Any) -> None:
    repository.release("a")
    lease = running.wire.take()
    number, fencing = lease["id"], lease["fencing"]
    running.wire.log(number, fencing, 0, b"before\n")
    running.process.signal(signal.SIGKILL)
    running.restart()
    assert running.wire.heartbeat(number, fencing).status_code == 200
    assert running.wire.log(number, fencing, 0, b"before\nafter\n").json()["acknowledged"] == 13
    assert running.wire.result(number, JobResult(fencing, Outcome.PASSED)).status_code == 204
    running.process.signal(signal.SIGKILL)
    running.restart()
    assert running.wire.result(number, JobResult(fencing, Outcome.PASSED)).status_code == 204
    assert running.wire.lease(wait=0).status_code == 204  # the job is done and stays done
    detail = running.read(attempts.detail, lease["job"]["id"])
    assert (len(detail.attempts), detail.job.verdict.name) == (1, "passed")
    assert running.process.text_of(detail.attempts[0].log) == b"before\nafter\n"


def test_a_stop_answers_those_who_wait_and_exits_with_0(running: Running, eventually: Callable[..., Any]) -> None:
    answers: list[int] = []
    other = running.process.wire(running.url, "n2")
    (before,) = (node.last_seen for node in running.read(nodes.all_nodes, 0.0) if node.name == "n2")
    thread = threading.Thread(target=lambda: answers.append(other.lease(wait=30).status_code))
    thread.start()
    eventually(lambda: any(node.last_seen > before for node in running.read(nodes.all_nodes, 0.0)))
    assert running.process.signal(signal.SIGTERM) == 0
    thread.join(60)
    assert answers == [204]
    assert not (running.process.folder / "engine.json").exists()


def test_a_test_node_that_hangs_up_while_it_waits_loses_no_job(
    running: Running, repository: Any, eventually: Callable[..., Any]
) -> None:
    impatient = running.process.wire(running.url, "n2")
    with pytest.raises(httpx2.TimeoutException):
        impatient.http.post("lease", content=b'{"format":1,"node":"n2"}', timeout=0.3)
    repository.release("a")
    lease = running.wire.take()
    assert (lease["node"], lease["attempt"]) == ("n1", 1)


def test_a_second_engine_in_the_same_folder_is_refused(running: Running) -> None:
    first = running.process.process
    running.process.spawn()
    second, running.process.process = running.process.process, first
    assert second.wait(60) == 1
    assert f"is in use by process {first.pid}. " in running.process.log.read_text()


def test_a_port_that_is_taken_is_named(running: Running, tmp_path: Path, repository: Any) -> None:
    other = type(running.process)(tmp_path / "other", repository.path)
    port = running.url.rpartition(":")[2]
    other.spawn("--wire-port", port)
    assert other.process.wait(60) == 1
    assert f"error: 127.0.0.1:{port} can't be served" in other.log.read_text()
    assert "Take another --wire-port, or 0." in other.log.read_text()


def test_a_dirty_tree_is_not_tested_and_said(farm: Any, repository: Any) -> None:
    head = repository.release("a")
    repository.put("software/a/software.cfg", "not committed")
    repository.put("software/b/software.cfg", "neither")
    wire = farm.wire(farm.start()["url"])
    lease = wire.take()
    assert (lease["job"]["revision"], lease["job"]["release"]) == (head, "a")
    assert wire.lease(wait=0.3).status_code == 204
    with tarfile.open(fileobj=io.BytesIO(wire.http.get(f"source/{head}").content)) as tar:
        profile = tar.extractfile("software/a/software.cfg")
        assert profile is not None
        assert b"not committed" not in profile.read()
    assert "2 uncommitted changes in" in farm.log.read_text()
    assert "the farm tests commits" in farm.log.read_text()


def test_a_job_that_never_ends_is_taken_away_from_its_test_node(
    farm: Any, repository: Any, eventually: Callable[..., Any]
) -> None:
    repository.release("a")
    wire = farm.wire(farm.start("--job-timeout", "0.5", "--grace", "0.5")["url"])
    lease = wire.take()
    eventually(lambda: wire.heartbeat(lease["id"], lease["fencing"]).status_code == 409)
    answer = wire.result(lease["id"], JobResult(lease["fencing"], Outcome.PASSED))
    assert answer.json()["error"] == f"lease {lease['id']} has ended: timed-out"


def test_large_results_are_accepted_and_larger_ones_refused(running: Running, repository: Any) -> None:
    repository.release("a")
    lease = running.wire.take()
    cases = tuple(TestCase("s", f"case {number}", CaseOutcome.PASSED, 0.0, "m" * 1000) for number in range(3000))
    too_large = dumps(JobResult(lease["fencing"], Outcome.PASSED, "r" * (33 << 20)))
    assert running.wire.http.post(f"leases/{lease['id']}/result", content=too_large).status_code == 413
    answer = running.wire.result(lease["id"], JobResult(lease["fencing"], Outcome.PASSED, cases=cases))
    assert answer.status_code == 204
    assert len(running.read(attempts.detail, lease["job"]["id"]).attempts[0].cases) == 3000
