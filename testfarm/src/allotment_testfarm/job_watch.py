# SPDX-License-Identifier: Apache-2.0
"""What one job of a farm on this machine does, said as it happens and once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from allotment_testfarm.build_log import BuildLog
from allotment_testfarm.logs.reader import Log
from allotment_testfarm.verdicts import Colour


class JobWatch:
    """Watches the newest job of one release; ``ask`` returns it as the JSON API shows it, None when there is none."""

    def __init__(
        self, release: str, ask: Callable[[str], dict[str, Any] | None], farm: Path, say: Callable[[str], None]
    ) -> None:
        """``farm`` is the farm's folder, which an attempt's ``log`` is relative to."""
        self.release = release
        self.is_there = False
        self.ended: dict[str, Any] | None = None  # the job, once it has its verdict
        self.log = (
            farm.with_name("jobs") / f"{release}.log"
        )  # of a job that is not green, for people: the farm packs it
        self._ask = ask
        self._farm = farm
        self._say_line = say
        self._attempt = 0
        self._steps = 0  # of the attempt that have been said
        self._build: BuildLog | None = None

    def look(self) -> None:
        """Say what has happened since the last call; the farm restarts its web tier when that has died, so ask on."""
        if self.ended is not None:
            return
        if self._build is not None:
            self._build.look()
        try:
            job = self._ask(self.release)
        except httpx2.TransportError:
            return
        if job is not None:
            self._take(job)

    def _take(self, job: dict[str, Any]) -> None:
        self.is_there = True
        if job["attempts"]:
            self._say_steps(job["attempts"][-1])
        if job["state"] == "done" and job["verdict"]:
            self._say_verdict(job)
            self.ended = job

    def _say_steps(self, attempt: dict[str, Any]) -> None:
        if attempt["number"] != self._attempt:
            self._attempt, self._steps = attempt["number"], 0
            self._build = BuildLog(self._farm / attempt["log"], self._say)
        for step in attempt["steps"][self._steps :]:
            self._say(f"{step['name']} on {attempt['node']}")
        self._steps = len(attempt["steps"])

    def _say_verdict(self, job: dict[str, Any]) -> None:
        self._say(f"{job['verdict']['name']}: {job['verdict']['detail']}")
        if job["verdict"]["colour"] != Colour.GREEN and job["attempts"]:
            self._unpack_log(job["attempts"][-1]["log"])
            self._say(f"the job's log is {self.log}")

    def _unpack_log(self, log: str) -> None:
        self.log.parent.mkdir(exist_ok=True)
        with Log(self._farm / log) as packed, self.log.open("wb") as file:
            file.writelines(packed.blocks(0, packed.size))

    def _say(self, text: str) -> None:
        self._say_line(f"{self.release}: {text}")
