# SPDX-License-Identifier: Apache-2.0
"""S4 for the farm: on a full disk it says so and loses nothing, and goes on by itself when there is space again."""

import hashlib
import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from allotment_master.kit.database import Database, sqlite_url
from allotment_testfarm.db import projects
from allotment_testfarm.discovery import Release
from allotment_testfarm.engine.schedule import schedule
from allotment_testfarm.git import Mirror
from allotment_testfarm.logs.reader import Log

pytestmark = pytest.mark.timeout(400)
# Waits for a file, and prints 4 MB that do not compress.
TALK = """
import pathlib, random, sys, time
print("ready", flush=True)
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.05)
numbers = random.Random(1)
for number in range(50_000):
    print(number, numbers.getrandbits(256))
"""


def lines() -> str:
    """What the job prints after its first lines."""
    numbers = random.Random(1)
    return "".join(f"{number} {numbers.getrandbits(256)}\n" for number in range(50_000))


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 120.0) -> Any:
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(0.1)
    return value


@contextmanager
def running(log: Path, *command: object) -> Iterator[None]:
    """Run a program until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen([str(word) for word in command], stdout=output, stderr=output)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def make_repository(folder: Path) -> Path:
    folder.mkdir()
    (folder / "talk.py").write_text(TALK)
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    for words in (("init", "--quiet"), ("add", "talk.py"), ("commit", "--quiet", "-m", "talk")):
        subprocess.run(["git", *identity, *words], cwd=folder, check=True)
    return folder


def add_job(folder: Path, repository: Path, go: Path) -> Path:
    """Return a farm's database with one job, made before its engine sees the commit."""
    commit = Mirror(folder / "mirror.git", str(repository)).fetch()
    command = [sys.executable, "talk.py", str(go)]
    release = Release("talk", "software/talk/software.cfg", "command", options={"command": command}, timeout=300.0)
    file = folder / "farm.sqlite"
    database = Database(sqlite_url(str(file)))
    database.upgrade("allotment_testfarm")
    with database.write() as connection:
        project = projects.ensure(connection, "main", str(repository), "", commit.time).id
        schedule(connection, project, commit, [release], commit.time)
    database.close()
    return file


def ready(farm: Path) -> Any:
    try:
        return json.loads((farm / "engine.json").read_bytes())["url"]
    except FileNotFoundError:
        return None


def upload(url: str, farm: Path, blob: bytes) -> tuple[int, str]:
    """Send a blob as a test node does, and return how it is refused."""
    token = (farm / "node.token").read_text().strip()
    answer = httpx2.put(
        f"{url}/wire/v1/blobs/{hashlib.sha256(blob).hexdigest()}",
        content=blob,
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
        timeout=60.0,
    )
    return answer.status_code, answer.json()["error"]


def ask(disk: Any) -> dict[str, Any]:
    """Return how the job and its attempts are; by a process that sees the disk as the engine does."""
    asked = (
        "import json, sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
        "job = c.execute('select state, outcome from jobs').fetchone();"
        "tries = c.execute('select outcome, log_bytes from attempts').fetchall();"
        "print(json.dumps({'job': job, 'attempts': tries}))"
    )
    command = [*disk.inside, sys.executable, "-c", asked, str(disk.place / "farm/farm.sqlite")]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


def test_a_full_disk_stops_the_farm_and_loses_nothing(
    tmp_path: Path, make_small_disk: Callable[[Path, str], Any]
) -> None:
    disk = make_small_disk(tmp_path / "disk", "12m")
    repository, go = make_repository(tmp_path / "repository"), tmp_path / "go"
    farm = disk.outside / "farm"  # as this process sees it
    farm.mkdir()
    shutil.copy(add_job(tmp_path, repository, go), farm)
    engine = [*disk.inside, sys.executable, "-m", "allotment_testfarm", "engine", "--folder", disk.place / "farm"]
    engine += ["--repository", repository, "--poll", "600", "--lease", "4"]
    engine_log, node_log = tmp_path / "engine.log", tmp_path / "node.log"
    with running(engine_log, *engine):
        url = wait_for(lambda: ready(farm), "the engine")
        node = [sys.executable, "-m", "allotment_testfarm", "node", "--folder", tmp_path / "node", "--farm", url]
        node += ["--token-file", farm / "node.token", "--name", "n1", "--disk-wanted", "1", "--memory-wanted", "1"]
        log = farm / "logs/1/1.log"
        with running(node_log, *node):
            wait_for(lambda: log.exists() and b"ready\n" in log.read_bytes(), "the job")
            disk.fill()
            go.touch()
            wait_for(lambda: "/log: the disk is full" in engine_log.read_text(), "the refused log")
            wait_for(lambda: "/heartbeat: the disk is full" in engine_log.read_text(), "the refused heartbeat")
            wait_for(lambda: "HTTP 507, the farm's disk is full" in node_log.read_text(), "the test node's word")
            wait_for(lambda: "Leases: the disk is full" in engine_log.read_text(), "the end of the lease")
            assert upload(url, farm, bytes(3_000_000)) == (507, "the farm's disk is full")
            assert "Traceback" not in engine_log.read_text()
            disk.relieve()
            wait_for(lambda: ask(disk)["job"][0] == "done", "the end of the job")
    found = ask(disk)
    with Log(log) as kept:
        text = b"".join(kept.blocks(0, kept.size)).decode()
    assert found == {"job": ["done", "passed"], "attempts": [["passed", len(text)]]}
    assert text.partition("ready\n")[2].startswith(lines())
