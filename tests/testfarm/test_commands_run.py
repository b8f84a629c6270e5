# SPDX-License-Identifier: Apache-2.0
"""``allot farm run``: two processes kept running, none left behind. The whole program, killed in every way."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

pytestmark = pytest.mark.timeout(240)
Eventually = Callable[..., Any]


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits for its parent to look does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    return False


def document(farm: Any) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        found: dict[str, Any] = json.loads((farm.folder / "farm.json").read_bytes())
        return found
    return {}


def answers(url: str) -> bool:
    with contextlib.suppress(httpx2.HTTPError):
        return httpx2.get(url, timeout=5.0).status_code in (200, 401)
    return False


def gits_about(url: str) -> list[int]:
    """Return the git processes that have ``url`` among their arguments."""
    found = []
    for path in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (path / "cmdline").read_bytes().split(b"\0") if path.name.isdigit() else []
            if words[:1] == [b"git"] and url.encode() in words and is_alive(int(path.name)):
                found.append(int(path.name))
    return found


def test_a_farm_survives_the_death_of_either_half_at_the_same_ports(farm: Any, eventually: Eventually) -> None:
    first = farm.start(program="run")
    assert set(first) == {"format", "pid", "engine_pid", "web_pid", "url", "wire"}
    eventually(lambda: answers(first["url"]) and answers(first["wire"]), 60)

    os.kill(first["engine_pid"], signal.SIGKILL)
    eventually(lambda: document(farm).get("engine_pid") not in (None, first["engine_pid"]), 60)
    eventually(lambda: answers(first["wire"]), 60)
    assert document(farm)["web_pid"] == first["web_pid"]

    os.kill(first["web_pid"], signal.SIGKILL)
    eventually(lambda: document(farm).get("web_pid") not in (None, first["web_pid"]), 60)
    eventually(lambda: answers(first["url"]), 60)

    last = document(farm)
    assert (last["url"], last["wire"]) == (first["url"], first["wire"])
    assert farm.signal(signal.SIGTERM) == 0
    assert not is_alive(last["engine_pid"])
    assert not is_alive(last["web_pid"])
    assert not (farm.folder / "farm.json").exists()
    again = farm.start(program="run")
    assert (again["url"], again["wire"]) == (first["url"], first["wire"])


def test_only_the_releases_that_are_asked_for_are_tested(farm: Any, repository: Any, eventually: Eventually) -> None:
    repository.release("helloworld", "apache", "redis")
    url = farm.start("--release", "apache", "--release", "redis", program="run")["url"]
    jobs = eventually(lambda: httpx2.get(f"{url}/api/v1/jobs", timeout=60.0).json()["items"])
    assert {job["release"] for job in jobs} == {"apache", "redis"}


def test_killing_the_farm_leaves_no_process(farm: Any, eventually: Eventually) -> None:
    found = farm.start(program="run")
    farm.signal(signal.SIGKILL)
    eventually(lambda: not is_alive(found["engine_pid"]) and not is_alive(found["web_pid"]), 60)


def test_a_fetch_that_hangs_outlives_neither_the_engine_nor_the_farm(farm: Any, eventually: Eventually) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        farm.repository = f"git://127.0.0.1:{silent.getsockname()[1]}/silent"
        first = farm.start(program="run")
        (fetch,) = eventually(lambda: gits_about(farm.repository))
        os.kill(first["engine_pid"], signal.SIGKILL)
        eventually(lambda: gits_about(farm.repository) not in ([], [fetch]))
        assert fetch not in gits_about(farm.repository)
        farm.signal(signal.SIGKILL)
        eventually(lambda: gits_about(farm.repository) == [])


def test_a_second_farm_in_the_same_folder_is_refused(farm: Any) -> None:
    farm.start(program="run")
    first = farm.process
    farm.spawn(program="run")
    second, farm.process = farm.process, first
    assert second.wait(60) == 1
    assert f"error: {farm.folder} is in use by process {first.pid}. " in farm.log.read_text()


def test_cancel_names_a_job_that_is_not_there(tmp_path: Path, sqlite_farm: Any) -> None:
    command = (sys.executable, "-m", "allotment", "farm", "cancel", "7", "--folder", str(tmp_path))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, done.stderr)
    assert "job 7 is not waiting and not running. Look at the results page for its number." in done.stderr


def test_a_repository_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    words = ("--folder", str(tmp_path / "farm"), "--repository", str(tmp_path / "nothing"))
    command = (sys.executable, "-m", "allotment", "farm", "run", *words)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        f"error: --repository {tmp_path / 'nothing'} does not exist. Give a git repository's path or URL.\n",
    )
    assert not (tmp_path / "farm").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--nightly", "at night"), "--nightly 'at night' can't be used: Wrong number of fields. Write minute, hour"),
        (("--nightly", "0 2 * * *", "--time-zone", "Mars"), "--time-zone 'Mars' is not known. Write it like Europe"),
        (("--name", "two"), "engine 'two' would share a SQLite database, which is for one engine. Give --database"),
        (("--name", "a/b", "--database", "postgresql://x"), "'a/b' is no name for an engine. Use letters, digits"),
    ],
)
def test_what_the_engine_would_refuse_is_told_at_once(
    tmp_path: Path, repository: Any, words: tuple[str, ...], message: str
) -> None:
    standard = ("--folder", str(tmp_path / "farm"), "--repository", str(repository.path))
    command = (sys.executable, "-m", "allotment", "farm", "run", *standard, *words)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"error: {message}" in done.stderr
    assert not (tmp_path / "farm").exists()
