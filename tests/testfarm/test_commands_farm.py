# SPDX-License-Identifier: Apache-2.0
"""``allot farm status``, ``nodes``, ``retry``, ``cancel`` and ``reproduce``, against a real farm."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from allotment.messages.job import CaseOutcome, Outcome, TestCase
from allotment_master.kit.database import Database, sqlite_url
from allotment_testfarm.db import projects
from allotment_testfarm.discovery import Release
from allotment_testfarm.engine.schedule import schedule
from allotment_testfarm.git import Mirror
from allotment_testfarm.wire import Heartbeat, JobResult, LeaseRequest, NodeHello

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("farm-commands")]
CHECK = "echo checking; echo made > here; exit $(cat answer)\n"
KINDS = ("command",)


@dataclass
class Told:
    """A farm with a job that passed, one that failed, and one that waits."""

    folder: Path
    repository: Path
    url: str
    commit: str
    passed: int
    failed: int
    waiting: int
    wire: Any

    def job(self, number: int) -> Any:
        return httpx2.get(f"{self.url}/api/v1/jobs/{number}", trust_env=False).json()["job"]

    def run(self, outcome: Outcome, **result: Any) -> int:
        """Be a test node and end the next job; return its number."""
        answer = self.wire.post("lease", LeaseRequest(self.wire.name, 20.0, KINDS))
        assert answer.status_code == 200, answer.text
        lease = answer.json()
        done = self.wire.result(lease["id"], JobResult(lease["fencing"], outcome, **result))
        assert done.status_code == 204, done.text
        return int(lease["job"]["id"])


def allot(*words: object, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ALLOTMENT_")}
    command = [sys.executable, "-m", "allotment", "farm", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=cwd, env=environment)


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    return subprocess.run(
        ("git", *identity, *words), cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def add_jobs(folder: Path, repository: Path) -> tuple[int, ...]:
    """Make jobs of the kind ``command`` for the newest commit, before the engine sees that."""
    commit = Mirror(folder / "first.git", str(repository)).fetch()
    releases = [
        Release(name, f"software/{name}/software.cfg", "command", options={"command": ["sh", "check.sh"]}, timeout=60.0)
        for name in ("apache", "redis", "zope")
    ]
    database = Database(sqlite_url(str(folder / "farm.sqlite")))
    database.upgrade("allotment_testfarm")
    with database.write() as connection:
        project = projects.ensure(connection, "main", str(repository), "", commit.time).id
        made = schedule(connection, project, commit, releases, commit.time)
    database.close()
    assert made is not None
    return tuple(made.jobs)


@contextmanager
def running_farm(make_farm: Callable[[Path], Any], folder: Path) -> Iterator[Told]:
    farm = make_farm(folder)
    farm.folder.mkdir()
    (farm.repository / "check.sh").write_text(CHECK)
    (farm.repository / "answer").write_text("1\n")
    git(farm.repository, "add", "--all")
    git(farm.repository, "commit", "--quiet", "-m", "answer 1")
    passed, failed, waiting = add_jobs(farm.folder, farm.repository)
    try:
        addresses = farm.start("--nightly", "0 2 * * *", program="run")
        wire = farm.wire(addresses["wire"])
        hello = NodeHello("n1", "linux-x86_64", environment={"python": "2.7.18", "zlib": "1.3"})
        assert wire.post("nodes", hello).status_code == 200
        commit = git(farm.repository, "rev-parse", "HEAD")
        told = Told(farm.folder, farm.repository, addresses["url"], commit, passed, failed, waiting, wire)
        assert told.run(Outcome.PASSED, cases=(TestCase("suite", "test_one", CaseOutcome.PASSED),)) == passed
        assert told.run(Outcome.FAILED, reason="sh ended with 1") == failed
        yield told
        wire.http.close()
    finally:
        farm.close()


@pytest.fixture(scope="module")
def told(make_farm: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """A farm that tests only look at."""
    with running_farm(make_farm, tmp_path_factory.mktemp("told")) as told:
        yield told


def test_status_tells_what_is_red_what_waits_and_when_the_nightly_is(told: Told) -> None:
    done = allot("status", "--folder", told.folder)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"main: {told.repository}, polled ")
    assert f"  newest revision {told.commit[:10]} by Ada, " in done.stdout
    assert "  releases: 1 red, 1 green, 1 without a verdict" in lines
    assert "T02:00:00Z" in done.stdout
    (red,) = [line.split() for line in lines if line.startswith("redis, command")]
    assert red[2:4] == ["new-failure", told.commit[:10]]
    assert f"{told.url}/jobs/{told.failed}" in red
    (waits,) = [line for line in lines if line.startswith("zope, command")]
    assert f"  {told.waiting}  " in waits
    assert "No job runs." in lines


def test_status_is_json_and_says_by_its_exit_code_whether_all_is_green(told: Told) -> None:
    done = allot("status", "--farm", told.url, "--json", "--check")
    assert done.returncode == 1
    document = json.loads(done.stdout)
    (project,) = document["projects"]
    assert (document["url"], project["newest"]["commit"]) == (told.url, told.commit)
    assert [item["release"] for item in project["releases"]] == ["apache", "redis", "zope"]
    assert document["queue"]["waits"] == 1


def test_nodes_are_listed(told: Told) -> None:
    assert json.loads(allot("nodes", "--farm", told.url, "--json").stdout)["items"][0]["name"] == "n1"
    head, row = allot("nodes", "--folder", told.folder).stdout.splitlines()
    assert head.startswith("TEST NODE  PLATFORM")
    assert row.startswith("n1") and row.endswith("takes jobs") and " 0 of 1 " in row


def test_jobs_are_cancelled_and_retried_while_the_farm_runs(make_farm: Callable[[Path], Any], tmp_path: Path) -> None:
    with running_farm(make_farm, tmp_path) as told:
        number = told.waiting
        lease = told.wire.post("lease", LeaseRequest("n1", 20.0, KINDS)).json()
        assert lease["job"]["id"] == number
        early = allot("retry", number, "--folder", told.folder)
        assert (early.returncode, early.stderr) == (1, f"error: job {number} is leased. Let it end, or cancel it.\n")
        assert allot("cancel", number, "--folder", told.folder).stdout == f"job {number} is cancelled\n"
        answer = told.wire.post(f"leases/{lease['id']}/heartbeat", Heartbeat(lease["fencing"]))
        assert answer.json()["cancel"] is True
        told.wire.result(lease["id"], JobResult(lease["fencing"], Outcome.CANCELLED))
        assert told.job(number)["outcome"] == "cancelled"
        assert allot("retry", number, "--folder", told.folder).stdout == f"job {number} waits again\n"
        assert told.run(Outcome.PASSED) == number
        assert (told.job(number)["attempts"], told.job(number)["outcome"]) == (2, "passed")
        unknown = allot("retry", 999, "--folder", told.folder)
        assert unknown.stderr == "error: there is no job 999. Look at the results page for its number.\n"


@pytest.mark.parametrize("word", ["retry", "cancel"])
def test_number_that_no_job_can_have_is_a_usage_error(tmp_path: Path, word: str) -> None:
    done = allot(word, 99999999999999999999, "--folder", tmp_path)
    assert done.returncode == 2
    assert "Invalid value for 'JOB': 99999999999999999999 is not in the range" in done.stderr


@pytest.mark.parametrize("text", ['{"format": 1, "url', "[]", "{}"])
def test_damaged_ready_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "farm.json").write_text(text)
    done = allot("nodes", "--folder", tmp_path)
    message = f"error: {tmp_path}/farm.json is damaged. Start the farm anew, or give --farm URL.\n"
    assert (done.returncode, done.stderr) == (1, message)


def reproduce(told: Told, job: int, cwd: Path, *options: object) -> tuple[int, dict[str, Any], str]:
    """Reproduce a job from a folder; return the exit code, the summary and the rest."""
    words = (f"{told.url}/jobs/{job}?attempt=1#log", "--folder", cwd / "desk", "--json", *options)
    done = allot("reproduce", *words, cwd=cwd)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


def test_a_failure_is_reproduced_from_the_farms_repository(told: Told, tmp_path: Path) -> None:
    code, summary, said = reproduce(told, told.failed, tmp_path)
    assert (code, summary["is_reproduced"]) == (0, True), said
    assert summary["there"] == {"node": "n1", "outcome": "failed", "reason": "sh ended with 1"}
    assert (summary["here"]["outcome"], summary["here"]["reason"]) == ("failed", "sh ended with 1")
    changed = {item["name"]: (item["there"], item["here"]) for item in summary["environment"]}
    assert changed["zlib"] == ("1.3", None)
    assert changed["python"][0] == "2.7.18" and "platform" not in changed
    assert f"job {told.failed}: redis (command) at {told.commit[:10]} of {told.repository}\n" in said
    assert "  zlib: 1.3 there, missing here\n" in said
    assert "\nchecking\n" in said
    assert sorted(path.name for path in (tmp_path / "desk").iterdir() if path.is_dir()) == ["reproduced.git"]


def test_another_end_is_not_reproduced_and_the_cases_that_differ_are_told(told: Told, tmp_path: Path) -> None:
    code, summary, _ = reproduce(told, told.passed, tmp_path)
    assert (code, summary["is_reproduced"], summary["here"]["outcome"]) == (1, False, "failed")
    assert summary["cases"] == [{"name": "suite test_one", "there": "passed", "here": None}]


def test_the_clone_that_one_stands_in_is_used_when_it_has_the_commit(told: Told, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(told.repository), str(clone)], check=True)
    (clone / "answer").write_text("0\n")  # what is not committed is not seen
    code, summary, said = reproduce(told, told.failed, clone)
    assert (code, summary["here"]["outcome"]) == (0, "failed")
    assert f" of {clone}\n" in said


def test_a_repository_that_lacks_the_commit_is_told_and_leaves_nothing(told: Told, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    git(other, "commit", "--quiet", "--allow-empty", "-m", "another")
    words = (f"{told.url}/jobs/{told.failed}", "--folder", tmp_path / "desk", "--repository", other)
    done = allot("reproduce", *words, cwd=told.repository)  # what is named goes first
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: git fetch of {other}: ")
    fix = f"Stand in a clone that has {told.commit[:10]}, or name a repository with --repository.\n"
    assert done.stderr.endswith(fix)
    assert not (tmp_path / "desk/job").exists()


def test_the_scratch_folder_is_kept_on_request(told: Told, tmp_path: Path) -> None:
    words = (f"{told.url}/api/v1/jobs/{told.failed}", "--folder", tmp_path / "desk", "--keep")
    done = allot("reproduce", *words, cwd=tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "desk/job/source/here").read_text() == "made\n"
    entered = subprocess.run(
        ["sh", "-c", done.stdout.splitlines()[-1].removesuffix("sh") + "pwd"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert entered.stdout == f"{tmp_path}/desk/job/work\n"
    assert "\nreproduced\n" in done.stdout
    assert allot("reproduce", *words[:3], cwd=tmp_path).returncode == 0  # removes it, and its temporary folder
    assert not (tmp_path / "desk/job").exists()


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("{url}/nodes", "'{url}/nodes' is not a job's address. Give that of its page: http://127.0.0.1:8080/jobs/12."),
        ("{url}/jobs/999", "there is no job 999. Look at /api/v1/jobs."),
        (
            "{url}/jobs/{waiting}",
            "job {waiting} has not ended on a test node: there is nothing to compare with. Wait until it has.",
        ),
    ],
)
def test_what_can_not_be_reproduced_is_told(told: Told, tmp_path: Path, address: str, error: str) -> None:
    names = {"url": told.url, "waiting": told.waiting}
    done = allot("reproduce", address.format(**names), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, f"error: {error.format(**names)}\n")


def test_a_farm_that_does_not_answer_is_named(tmp_path: Path) -> None:
    done = allot("status", "--farm", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert done.stderr.startswith("error: the farm at http://127.0.0.1:9 did not answer: ")
    assert allot("nodes").stderr == "error: no farm is named. Give --farm URL or --folder, or set ALLOTMENT_FARM.\n"
    stopped = allot("status", "--folder", tmp_path)
    assert stopped.stderr == (
        f"error: no farm runs in {tmp_path}. Start it with 'allot farm run', or give --farm URL.\n"
    )
