# SPDX-License-Identifier: Apache-2.0
"""A farm with two test nodes on this machine: what ``allot demo`` and ``allot nightly`` share."""

import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

from allotment.errors import AllotmentError
from allotment.program import FolderLock
from allotment_recipes.shared_store import remove
from allotment_testfarm import kept_store
from allotment_testfarm.discovery import releases_among
from allotment_testfarm.job_watch import JobWatch
from allotment_testfarm.programs import Program, Programs

TEST_NODES = ("test-node-1", "test-node-2")
_JOB_SECONDS = 60.0  # until the farm has seen the commit


@dataclass(frozen=True)
class Places:
    """The folders of a farm on this machine, absolute."""

    folder: Path  # what all programs keep; emptied first
    repository: Path  # whose newest commit is proved
    store: Path  # of built parts, for all nodes; kept, unless it is inside ``folder``
    sources: Path  # source cache, for all nodes; kept


class LocalFarm:
    """Use it as a context manager: entering empties the folder, leaving stops every program."""

    def __init__(self, places: Places, say: Callable[[str], None]) -> None:
        self.folder = places.folder
        self.places = places
        self.programs = Programs()
        self.farm = ""  # URL of the results page, once started
        self.revision = ""  # the commit that is proved, once started
        self._say = say
        self._watches: dict[str, JobWatch] = {}  # by release
        self._seconds: dict[str, float] = {}  # how long each phase took
        self._began = time.monotonic()
        self._held = ExitStack()

    def __enter__(self) -> Self:
        beside = self.folder.with_name(f"{self.folder.name}.lock")  # the folder itself is emptied
        self._held.enter_context(FolderLock(self.folder, beside))
        remove(self.folder)
        self.folder.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._step("stopping every program")
        self.programs.stop()
        self._held.close()

    def prepare(self) -> tuple[str, ...]:
        """Take the repository's newest commit as the one to prove and make the store ready; return its releases."""
        head = self._git("log", "-1", "--format=%H %s").strip()
        self.revision, _, subject = head.partition(" ")
        self._step(f"the farm will prove commit {self.revision[:7]}, {subject} (committed files only)")
        self.places.sources.mkdir(parents=True, exist_ok=True)
        for part in kept_store.prepare(self.places.store):
            self._step(f"removed {part} from the store: it is damaged")
        names = self._git("ls-tree", "-r", "-z", "--name-only", self.revision).split("\0")
        return tuple(release.name for release in releases_among(names))

    def start_farm(self, releases: Iterable[str], *offer: str) -> None:
        """Start the farm and its test nodes; all are ready, and each release has a job, when this returns."""
        only = [word for release in releases for word in ("--release", release)]
        arguments = ["run", "--repository", str(self.places.repository), "--poll", "2", *only, *offer]
        farm = self._start("farm", "allotment_testfarm", arguments, "farm.json")
        self.farm = farm["url"]
        self._step(f"farm at {self.farm}")
        folder = self.folder / "farm"
        self._watches = {name: JobWatch(name, self.newest_job, folder, self._step) for name in releases}
        for name in TEST_NODES:
            self.share(name, "sources")
            self.start_test_node(name, farm["wire"])
        self.programs.wait("a job of each release", self._has_all_jobs, _JOB_SECONDS, 0.1)

    def _has_all_jobs(self) -> bool:
        self.look()
        return all(watch.is_there for watch in self._watches.values())

    def watch(self) -> None:
        """Stay until interrupted; a program that ends by itself is an error."""
        while True:
            self.programs.check()
            time.sleep(0.5)

    def look(self) -> dict[str, dict[str, Any]]:
        """Say what has happened in the jobs since the last call; return those that have ended, by release."""
        for watch in self._watches.values():
            watch.look()
        return {name: watch.ended for name, watch in self._watches.items() if watch.ended is not None}

    def share(self, node: str, sources: str) -> None:
        """Give a node, before it starts, the common store and, by the name it has there, the source cache."""
        folder = self.folder / node
        folder.mkdir(mode=0o700)
        (folder / "store").symlink_to(self.places.store)
        (folder / sources).symlink_to(self.places.sources)

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

    def _git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.places.repository), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            problem = f"git can't read {self.places.repository}: {done.stderr.strip()}"
            raise AllotmentError(problem, "Commit something first")
        return done.stdout

    def _start(self, name: str, module: str, arguments: list[str], ready: str) -> dict[str, Any]:
        folder = self.folder / name
        program = Program(name, module, [*arguments, "--folder", str(folder)], folder, ready)
        return self.programs.start(program)

    def _step(self, text: str) -> None:
        self._say(f"[{time.monotonic() - self._began:6.1f} s] {text}")

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to that of the phase."""
        start = time.monotonic()
        yield
        self._seconds[name] = round(self._seconds.get(name, 0.0) + time.monotonic() - start, 2)
