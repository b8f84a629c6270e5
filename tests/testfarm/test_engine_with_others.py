# SPDX-License-Identifier: Apache-2.0
"""The engine with a real test node, a real master and a real PostgreSQL."""

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from allotment.client import MasterClient
from allotment.messages.job import Outcome
from allotment.messages.manifest import Blob, ReleaseManifest, SoftwareType
from allotment.secret import Secret
from allotment_master.kit.database import Database, sqlite_url
from allotment_testfarm.db import attempts, jobs, manifests, projects, revisions
from allotment_testfarm.discovery import Release
from allotment_testfarm.wire import JobResult

pytestmark = pytest.mark.timeout(300)
Eventually = Callable[..., Any]


class Programs:
    """Other programs that a test starts; each ends with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{module}.log").open("ab") as log:
            process = subprocess.Popen(
                (sys.executable, "-m", module, *arguments),
                stdout=log,
                stderr=log,
                env={**os.environ, "TMPDIR": str(self.folder)},  # what a killed one leaves goes with the test
            )
        self.running.append(process)
        return process

    def test_node(self, farm: Any, url: str, name: str) -> subprocess.Popen[bytes]:
        where = ("--folder", str(self.folder / name), "--farm", url, "--name", name)
        wanted = ("--disk-wanted", "0", "--memory-wanted", "0")  # whatever this machine has left
        token = str(farm.folder / "node.token")
        return self.start("allotment_testfarm", "node", *where, *wanted, "--token-file", token)

    def close(self) -> None:
        for process in self.running:
            process.terminate()
        for process in self.running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    found = Programs(tmp_path)
    yield found
    found.close()


def add_command(database: Database, *words: str, **details: Any) -> int:
    """Add a job that runs one command on the newest revision."""
    with database.write() as connection:
        project = projects.get(connection, "main")
        assert project is not None
        (newest, *_) = revisions.page(connection, project.id)
        wanted = Release("shell", "none", "command", options={"command": list(words)}, **details)
        (job,) = jobs.create(connection, project.id, newest.id, newest.position, [wanted], newest.seen)
    return job


def detail(database: Database, job: int) -> attempts.JobDetail:
    with database.read() as connection:
        found = attempts.detail(connection, job)
    assert found is not None
    return found


@pytest.fixture
def farm_with_commit(farm: Any, repository: Any, eventually: Eventually) -> Iterator[tuple[Any, str, Database]]:
    """A running engine that has seen a commit without releases."""
    repository.put("words.txt", "from the commit\n")
    repository.commit()
    url = farm.start("--lease", "4")["url"]
    database = Database(sqlite_url(str(farm.folder / "farm.sqlite")))

    def seen() -> Any:
        with database.read() as connection:
            return revisions.page(connection, 1)

    eventually(seen)
    yield farm, url, database
    database.close()


def test_a_real_test_node_runs_a_job_and_its_log_arrives(
    farm_with_commit: Any, programs: Programs, eventually: Eventually
) -> None:
    farm, url, database = farm_with_commit
    job = add_command(database, "cat", "words.txt")
    programs.test_node(farm, url, "n1")
    eventually(lambda: detail(database, job).job.verdict, 90)
    found = detail(database, job)
    assert (found.job.verdict.name, found.attempts[0].node) == ("passed", "n1")
    assert [step.name for step in found.attempts[0].steps] == ["command"]
    assert b"from the commit" in farm.text_of(found.attempts[0].log)


def test_the_job_of_a_killed_test_node_ends_on_another_one_once(
    farm_with_commit: Any, programs: Programs, eventually: Eventually, tmp_path: Path
) -> None:
    farm, url, database = farm_with_commit
    first = programs.test_node(farm, url, "n1")
    # The first attempt never ends; the second finds its mark and does.
    script = f"if test -e {tmp_path}/mark; then exit 0; fi; touch {tmp_path}/mark; sleep 600"
    job = add_command(database, "sh", "-c", script)
    eventually((tmp_path / "mark").exists, 90)
    first.kill()
    programs.test_node(farm, url, "n2")
    eventually(lambda: detail(database, job).job.verdict, 90)
    found = detail(database, job)
    assert [(attempt.node, attempt.outcome) for attempt in found.attempts] == [
        ("n1", Outcome.LOST),
        ("n2", Outcome.PASSED),
    ]


def test_a_killed_engine_does_not_disturb_a_running_job(
    farm_with_commit: Any, programs: Programs, eventually: Eventually, tmp_path: Path
) -> None:
    farm, url, database = farm_with_commit
    programs.test_node(farm, url, "n1")
    script = f"touch {tmp_path}/begun; until test -e {tmp_path}/go; do sleep 0.1; done; echo went on"
    job = add_command(database, "sh", "-c", script)
    eventually((tmp_path / "begun").exists, 90)
    farm.signal(signal.SIGKILL)
    farm.start("--lease", "4", "--wire-port", url.rpartition(":")[2])
    (tmp_path / "go").touch()
    eventually(lambda: detail(database, job).job.verdict, 90)
    found = detail(database, job)
    assert (len(found.attempts), found.job.verdict.name) == (1, "passed")
    assert farm.text_of(found.attempts[0].log).count(b"went on") == 1


def closure() -> bytes:
    """A small archive, as a build would make."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        member = tarfile.TarInfo("software.cfg")
        member.size = 11
        tar.addfile(member, io.BytesIO(b"[buildout]\n"))
    return target.getvalue()


def green(wire: Any) -> ReleaseManifest:
    """Take a lease and end it well; return the manifest."""
    lease = wire.take(60)
    data = closure()
    sha256 = hashlib.sha256(data).hexdigest()
    assert wire.http.put(f"blobs/{sha256}", content=data).status_code == 201
    default = SoftwareType("Hello", "Says hello.", "instance.cfg", {"type": "object"}, {"type": "object"})
    manifest = ReleaseManifest(
        lease["job"]["release"], "software.cfg", Blob(sha256, len(data)), {"default": default}, {}
    )
    result = JobResult(lease["fencing"], Outcome.PASSED, manifest=manifest)
    assert wire.result(lease["id"], result).status_code == 204
    return manifest


def master_ready(folder: Path) -> Any:
    with contextlib.suppress(OSError, ValueError):
        return json.loads((folder / "master.json").read_bytes())
    return None


def test_a_green_release_reaches_a_master_that_was_away_through_an_engine_that_was_killed(
    farm: Any, repository: Any, programs: Programs, eventually: Eventually, tmp_path: Path
) -> None:
    folder = tmp_path / "master"
    run = ("run", "--folder", str(folder))
    first = programs.start("allotment_master", *run)
    document = eventually(lambda: master_ready(folder), 90)
    first.terminate()
    assert first.wait(60) == 0

    options = ("--master", document["url"], "--master-token-file", str(folder / "admin.token"))
    repository.release("helloworld")
    url = farm.start(*options)["url"]
    manifest = green(farm.wire(url))
    database = Database(sqlite_url(str(farm.folder / "farm.sqlite")))

    def stored() -> manifests.StoredManifest:
        with database.read() as connection:
            found = manifests.get(connection, manifest.sha256)
        assert found is not None
        return found

    eventually(lambda: stored().problem)
    assert "did not answer" in stored().problem
    farm.signal(signal.SIGKILL)
    programs.start("allotment_master", *run, "--port", document["url"].rpartition(":")[2])
    eventually(lambda: master_ready(folder), 90)
    farm.start(*options)
    eventually(lambda: stored().offered, 90)
    with MasterClient(document["url"], Secret((folder / "admin.token").read_text().strip())) as client:
        signed = client.get_manifest(manifest.sha256)
        assert [release.name for release in client.releases()] == ["helloworld"]
    assert signed.manifest == manifest
    assert signed.signatures[0].key == (farm.folder / "signing.pub").read_text().strip()
    database.close()


def test_a_missing_master_token_stops_the_start(farm: Any, tmp_path: Path) -> None:
    farm.spawn("--master", "http://127.0.0.1:9", "--master-token-file", str(tmp_path / "none"))
    assert farm.process.wait(60) == 2
    assert "--master-token-file" in farm.log.read_text()


def test_a_master_beyond_this_machine_without_tls_is_refused(farm: Any) -> None:
    farm.spawn("--master", "http://192.0.2.1:80")
    assert farm.process.wait(60) == 1
    assert "http://192.0.2.1:80 would send tokens unencrypted" in farm.log.read_text()


@pytest.mark.postgresql
def test_an_engine_on_postgresql_goes_on_after_a_kill(farm: Any, repository: Any, postgresql_url: str) -> None:
    repository.release("a")
    url = farm.start("--database", postgresql_url)["url"]
    wire = farm.wire(url)
    lease = wire.take(60)
    farm.signal(signal.SIGKILL)
    farm.start("--database", postgresql_url, "--wire-port", url.rpartition(":")[2])
    assert wire.heartbeat(lease["id"], lease["fencing"]).status_code == 200
    assert wire.result(lease["id"], JobResult(lease["fencing"], Outcome.PASSED)).status_code == 204
    assert not (farm.folder / "farm.sqlite").exists()


def test_other_users_read_no_secret_of_the_farm(farm: Any) -> None:
    farm.start()
    for name in ("node.token", "signing.key"):
        assert (farm.folder / name).stat().st_mode & 0o077 == 0
    assert (farm.folder / "node.token").read_text().strip() not in farm.log.read_text()


def test_a_project_name_that_is_a_path_is_refused(farm: Any) -> None:
    farm.spawn("--project", "../x")
    assert farm.process.wait(60) == 1
    assert "error: '../x' is no name for a project. Use letters, digits, dots, dashes and underscores." in (
        farm.log.read_text()
    )
