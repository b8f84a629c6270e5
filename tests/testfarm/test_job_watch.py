# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import httpx2

from allotment_testfarm.job_watch import JobWatch
from allotment_testfarm.logs.store import StoredLog


class Told:
    """A job that changes, and what was said of it."""

    def __init__(self, farm: Path) -> None:
        self.job: dict[str, Any] | None = None
        self.asked = 0
        self.said: list[str] = []
        self.watch = JobWatch("hello", self._ask, farm, self.said.append)

    def _ask(self, release: str) -> dict[str, Any] | None:
        assert release == "hello"
        self.asked += 1
        if self.job == {}:
            raise httpx2.ConnectError("refused")
        return self.job

    def look(self) -> list[str]:
        self.said.clear()
        self.watch.look()
        return list(self.said)


def attempt(number: int, *steps: str) -> dict[str, Any]:
    names = [{"name": step} for step in steps]
    return {"number": number, "node": f"n{number}", "log": f"logs/1/{number}.log", "steps": names}


def running(*attempts: dict[str, Any]) -> dict[str, Any]:
    return {"state": "running", "verdict": None, "attempts": list(attempts)}


def done(name: str, colour: str, *attempts: dict[str, Any]) -> dict[str, Any]:
    return {"state": "done", "verdict": {"name": name, "colour": colour, "detail": "why"}, "attempts": list(attempts)}


def test_each_step_and_the_verdict_are_said_once(tmp_path: Path) -> None:
    told = Told(tmp_path)
    assert (told.look(), told.watch.is_there) == ([], False)
    told.job = running(attempt(1, "build"))
    assert told.look() == ["hello: build on n1"]
    assert told.look() == []
    told.job = done("passed", "green", attempt(1, "build", "deploy", "test"))
    assert told.look() == ["hello: deploy on n1", "hello: test on n1", "hello: passed: why"]
    assert told.watch.ended == told.job
    asked = told.asked
    assert (told.look(), told.asked) == ([], asked)


def test_another_attempt_is_said_from_its_beginning_with_its_own_log(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.job = running(attempt(1, "build", "deploy"))
    told.look()
    told.job = running(attempt(1, "build", "deploy"), attempt(2, "build"))
    assert told.look() == ["hello: build on n2"]
    (tmp_path / "logs/1").mkdir(parents=True)
    (tmp_path / "logs/1/2.log").write_text("fetch: zlib: from the url in 1.0 s\n")
    assert told.look() == ["hello: fetched zlib from the url in 1.0 s"]


def test_the_log_of_a_red_job_is_there_as_plain_text(tmp_path: Path) -> None:
    (tmp_path / "farm/logs/1").mkdir(parents=True)
    log = StoredLog(tmp_path / "farm/logs/1/1.log")
    log.append(memoryview(b"== build\nno such luck\n"))
    log.seal()
    told = Told(tmp_path / "farm")
    told.job = done("new-failure", "red", attempt(1))
    assert told.look() == ["hello: new-failure: why", f"hello: the job's log is {tmp_path}/jobs/hello.log"]
    assert told.watch.log.read_text() == "== build\nno such luck\n"


def test_pages_that_are_away_are_asked_again(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.job = {}
    assert told.look() == []
    told.job = running(attempt(1, "build"))
    assert told.look() == ["hello: build on n1"]
