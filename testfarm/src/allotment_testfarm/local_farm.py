# SPDX-License-Identifier: Apache-2.0
"""A farm with two test nodes on this machine: what ``allot demo`` and ``allot nightly`` share."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import filelock
import httpx2

from allotment.errors import AllotmentError
from allotment_recipes.shared_store import remove
from allotment_testfarm.programs import Program, Programs

TEST_NODES = ("test-node-1", "test-node-2")


class LocalFarm:
    """Use it as a context manager: entering empties the folder, leaving stops every program."""

    def __init__(self, folder: Path, repository: Path, say: Callable[[str], None]) -> None:
        self.folder = folder
        self.programs = Programs()
        self.farm = ""  # URL of the results page, once started
        self.revision = ""  # the commit that is proved, once started
        self._repository = repository
        self._say = say
        self._seconds: dict[str, float] = {}  # how long each phase took
        self._began = time.monotonic()
        self._lock = filelock.FileLock(folder.with_name(f"{folder.name}.lock"))

    def __enter__(self) -> Self:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            what = f"a {type(self).__name__.lower()} is running in {self.folder}"
            raise AllotmentError(what, "Stop it, or give another --folder") from None
        remove(self.folder)
        self.folder.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._step("stopping every program")
        self.programs.stop()
        self._lock.release()

    def read_head(self) -> None:
        """Take the repository's newest commit as the one to prove."""
        git = ["git", "-C", str(self._repository), "log", "-1", "--format=%H %s"]
        head = subprocess.run(git, capture_output=True, text=True, check=False)
        if head.returncode != 0:
            raise AllotmentError(f"git can't read {self._repository}: {head.stderr.strip()}", "Commit something first")
        self.revision, _, subject = head.stdout.strip().partition(" ")
        self._step(f"the farm will prove commit {self.revision[:7]}, {subject} (committed files only)")

    def start_farm(self, *offer: str) -> None:
        """Start the farm and its test nodes; each is ready when this returns."""
        arguments = ["run", "--repository", str(self._repository), "--poll", "2", *offer]
        farm = self._start("farm", "allotment_testfarm", arguments, "farm.json")
        self.farm = farm["url"]
        self._step(f"farm at {self.farm}")
        for name in TEST_NODES:
            self.start_test_node(name, farm["wire"])

    def start_test_node(self, name: str, wire: str) -> None:
        """Start one test node of the farm."""
        token = str(self.folder / "farm/node.token")
        arguments = ["node", "--farm", wire, "--token-file", token, "--name", name, "--grace", "0"]
        self._start(name, "allotment_testfarm", arguments, "test-node.json")
        self._step(f"{name} joined the farm")

    def newest_job(self, release: str) -> dict[str, Any] | None:
        """Return the farm's newest job of a release at the revision, with its attempts, as the JSON API shows it."""
        query = {"release": release, "revision": self.revision, "limit": "1"}
        with httpx2.Client(base_url=self.farm, timeout=10.0) as client:
            found = client.get("/api/v1/jobs", params=query).json()["items"]
            detail = client.get(f"/api/v1/jobs/{found[0]['id']}").json() if found else None
        return {**detail["job"], "attempts": detail["attempts"]} if detail else None

    def say_steps(self, job: dict[str, Any], said: set[str]) -> None:
        """Say each step of a job's newest attempt that is not in ``said``, and add it there."""
        attempts = job.get("attempts") or []
        for step in attempts[-1]["steps"] if attempts else []:
            if step["name"] not in said:
                said.add(step["name"])
                self._step(f"{job['release']}: {step['name']} on {attempts[-1]['node']}")

    def _start(self, name: str, module: str, arguments: list[str], ready: str) -> dict[str, Any]:
        folder = self.folder / name
        program = Program(name, module, [*arguments, "--folder", str(folder)], folder, ready)
        return self.programs.start(program)

    def _step(self, text: str) -> None:
        self._say(f"[{time.monotonic() - self._began:6.1f} s] {text}")

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self._seconds[name] = round(time.monotonic() - start, 2)
