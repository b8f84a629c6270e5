# SPDX-License-Identifier: Apache-2.0
"""S3: kills of engine, web tier and test nodes, and connections that suffer; no job is lost and none counts twice.

Three test nodes work for one farm over SQLite, each through a proxy, each on one job, which prints its lines for about
three seconds. In a round of kills the engine, the web tier and one test node get a SIGKILL at random moments of that
time and are started again, as their supervisor would. In a round of faults each proxy does another thing to all its
connections for 1, 10 and 60 seconds: it cuts them, holds every byte back, or lets half of each piece through and cuts.

Afterwards each job must have passed, in one attempt, or in one more where its test node was killed or was silent for
longer than a lease. What an attempt that counts has printed is there once, in order; what a lost one has printed is
there up to the last byte that its test node has heard of as taken.
"""

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2

from allotment_testfarm.logs.reader import Log
from benchmarks.fault_proxy import FAULTS, FaultProxy
from benchmarks.measure import report_losses

RUNS: Final = 50
QUICK_RUNS: Final = 3
FAULT_SECONDS: Final = (1.0, 10.0, 60.0)
QUICK_FAULT_SECONDS: Final = (1.0, 10.0)
KILLS_LEASE: Final = 5.0  # seconds; a killed test node's job waits for so long
FAULTS_LEASE: Final = 20.0
NODES: Final = 3
LINES: Final = 150
JOB_SECONDS: Final = 3.0  # what it takes to print them
READY_SECONDS: Final = 4.0  # for which the last test node's job is waited for
PATIENCE: Final = 180.0  # seconds for a round, beyond the fault's own
_BEGAN: Final = time.monotonic()
_EDITED: Final = "other software was installed"
_PASSED: Final = "== command: passed after "  # how the log of a job begins its last line
JOB: Final = """
import sys, time
with open(sys.argv[1], "a") as file:
    file.write("began\\n")
for number in range(int(sys.argv[2])):
    print("line", number, flush=True)
    time.sleep(0.02)
"""


@dataclass(frozen=True)
class Attempt:
    """One row of the farm's table, with the log's text."""

    job: int
    node: str
    outcome: str
    reason: str
    text: str


class Farm:
    """One farm and its test nodes, each behind a proxy of its own, in a scratch folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "farm"
        self.nodes = [f"node-{number}" for number in range(NODES)]
        self.proxies: dict[str, FaultProxy] = {}
        self._place = folder
        self._repository = folder / "repository"
        self._programs: dict[str, subprocess.Popen[bytes]] = {}
        self._submitted = 0
        self._commit()

    @contextmanager
    def running(self, lease: float) -> Iterator[None]:
        """Run everything, with leases of so many seconds."""
        options = ["--folder", self.folder, "--repository", self._repository, "--poll", "0.2", "--lease", lease]
        try:
            with ExitStack() as stack:
                self._start("farm", "run", *options)
                wire = self._wait(self._ready)["wire"]
                for name in self.nodes:
                    self.proxies[name] = stack.enter_context(FaultProxy(wire))
                    self.start_node(name)
                self._wait(lambda: len(self._rows("select name from nodes")) == NODES)
                yield
        finally:
            for program in self._programs.values():
                program.terminate()
            for program in self._programs.values():
                program.wait(60)
            self._programs.clear()

    def start_node(self, name: str) -> None:
        """Start a test node, for the first time or again."""
        options = ["--folder", self._place / name, "--farm", self.proxies[name].url, "--name", name, "--grace", 0]
        wanted = ["--disk-wanted", 0, "--memory-wanted", 0]
        self._start(name, "node", *options, *wanted, "--token-file", self.folder / "node.token")

    def kill(self, what: str) -> None:
        """Send SIGKILL to the engine, the web tier or a test node; a test node is started again."""
        if what in self.nodes:
            self._programs[what].kill()
            self._programs[what].wait()
            self.start_node(what)
        else:
            ready = json.loads((self.folder / f"{what}.json").read_bytes())
            with suppress(ProcessLookupError):  # the kill before has only just been noticed
                os.kill(int(ready["pid"]), signal.SIGKILL)

    def submit(self, count: int) -> list[int]:
        """Add jobs to the farm's table, where another engine's would come in as well; return their ids."""
        (revision, project, position) = self._wait(
            lambda: self._rows("select id, project_id, position from revisions")
        )[0]
        made = []
        for _ in range(count):
            self._submitted += 1
            command = [sys.executable, "-c", JOB, str(self._place / f"began-{self._submitted}"), str(LINES)]
            row = {
                "project_id": project,
                "revision_id": revision,
                "position": position,
                "release": f"job-{self._submitted}",
                "profile": "software/job/software.cfg",
                "kind": "command",
                "platform": "any",
                "timeout": 600.0,
                "options": json.dumps({"command": command}),
                "state": "waiting",
                "created": time.time(),
            }
            names = ", ".join(row)
            marks = ", ".join("?" * len(row))
            with self._database() as database:
                added = database.execute(f"insert into jobs ({names}) values ({marks})", tuple(row.values()))
                made.append(int(added.lastrowid or 0))
                event = (time.time(), "job.created", f"job/{made[-1]}", "{}")
                database.execute("insert into events (time, kind, subject, data) values (?, ?, ?, ?)", event)
        return made

    def wait_running(self, jobs: list[int]) -> None:
        """Wait until each job has said something; not for a test node that still pauses after the last round."""
        query = f"select log from attempts where job_id in ({_listed(jobs)})"
        with suppress(RuntimeError):
            self._wait(lambda: sum(self._size(log) > 0 for (log,) in self._rows(query)) == len(jobs), READY_SECONDS)

    def wait_done(self, jobs: list[int], seconds: float) -> bool:
        """Wait until no job waits or runs; False when that takes too long."""
        query = f"select count(*) from jobs where state != 'done' and id in ({_listed(jobs)})"
        try:
            self._wait(lambda: self._rows(query)[0][0] == 0, seconds)
        except RuntimeError:
            return False
        return True

    def attempts(self, jobs: list[int]) -> list[Attempt]:
        """Return all attempts at the jobs, in order."""
        columns = "job_id, node, outcome, reason, log"
        rows = self._rows(f"select {columns} from attempts where job_id in ({_listed(jobs)}) order by id")
        return [Attempt(*values, self._text(log)) for *values, log in rows]

    def ended(self, job: int) -> int:
        """Return how often the farm has noted that an attempt at a job has ended."""
        query = "select count(*) from events where kind = 'attempt.ended' and subject = ?"
        return int(self._rows(query, f"job/{job}")[0][0])

    def began(self, job: int) -> int:
        """Return how often a job's command was started."""
        (release,) = self._rows("select release from jobs where id = ?", job)[0]
        path = self._place / f"began-{release.removeprefix('job-')}"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def page(self, job: int) -> dict[str, Any]:
        """Return a job as the web tier shows it, which may just be starting again."""

        def ask() -> dict[str, Any] | None:
            try:
                answer = httpx2.get(f"{self._ready()['url']}/api/v1/jobs/{job}", timeout=10.0, trust_env=False)
                return dict(answer.json()["job"]) if answer.is_success else None
            except (httpx2.HTTPError, KeyError):
                return None

        return dict(self._wait(ask))

    def _ready(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.folder / "farm.json").read_bytes()))
        except (OSError, ValueError):
            return {}

    def _commit(self) -> None:
        git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@localhost"]
        subprocess.run([*git, "init", "-q", "-b", "main", str(self._repository)], check=True)
        (self._repository / "README").write_text("no release: the jobs are added by hand\n")
        subprocess.run([*git, "-C", str(self._repository), "add", "-A"], check=True)
        subprocess.run([*git, "-C", str(self._repository), "commit", "-q", "-m", "one revision"], check=True)

    def _start(self, name: str, program: str, *options: object) -> None:
        command = [sys.executable, "-m", "allotment_testfarm", program, *map(str, options)]
        with (self._place / f"{name}.log").open("ab") as log:
            self._programs[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _wait(self, condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise RuntimeError("it did not come in time")
            time.sleep(0.05)
        return found

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self.folder / "farm.sqlite", timeout=60)
        try:
            with database:
                yield database
        finally:
            database.close()

    def _rows(self, query: str, *values: object) -> list[Any]:
        if not (self.folder / "farm.sqlite").exists():
            return []
        with self._database() as database:
            return database.execute(query, values).fetchall()

    def _text(self, log: str) -> str:
        with Log(self.folder / log) as reader:
            return b"".join(reader.blocks(0, reader.size)).decode()

    def _size(self, log: str) -> int:
        with Log(self.folder / log) as reader:
            return reader.size


class Campaign:
    """Rounds of kills and of faults; each tells all that is wrong after it."""

    def __init__(self, farm: Farm, chance: random.Random) -> None:
        self._farm = farm
        self._chance = chance

    def kills(self) -> list[str]:
        """Kill one of each kind while jobs run."""
        node = self._chance.choice(self._farm.nodes)
        moments = sorted((self._chance.uniform(0.0, JOB_SECONDS), what) for what in ("engine", "web", node))
        _say("kills: " + ", ".join(f"{what} after {moment:.2f} s" for moment, what in moments))
        jobs = self._farm.submit(NODES)
        self._farm.wait_running(jobs)
        began = time.monotonic()
        heard = {}
        for moment, what in moments:
            time.sleep(max(0.0, began + moment - time.monotonic()))
            heard[what] = self._farm.proxies[what].acknowledged if what == node else 0
            self._farm.kill(what)
        return self._judge(jobs, PATIENCE, {node: heard[node]})

    def faults(self, seconds: float) -> list[str]:
        """Let each proxy do something else to its connections for so long."""
        faults = dict(zip(self._farm.nodes, self._chance.sample(FAULTS, NODES), strict=True))
        _say(f"faults for {seconds:g} s: " + ", ".join(f"{fault} {name}" for name, fault in faults.items()))
        jobs = self._farm.submit(NODES)
        self._farm.wait_running(jobs)
        time.sleep(self._chance.uniform(0.0, JOB_SECONDS / 2))
        for name, fault in faults.items():
            self._farm.proxies[name].begin(fault)
        time.sleep(seconds)
        for name in faults:
            self._farm.proxies[name].end()
        is_long = seconds > FAULTS_LEASE / 2  # a lease may have ended: silence counts from the last heartbeat
        return self._judge(jobs, PATIENCE + seconds, dict.fromkeys(self._farm.nodes if is_long else (), 0))

    def _judge(self, jobs: list[int], seconds: float, losers: dict[str, int]) -> list[str]:
        """Return what is wrong; ``losers`` may have lost a job, after hearing of so many bytes of its log as taken."""
        if not self._farm.wait_done(jobs, seconds):
            return [f"not all of the jobs {jobs} came to an end"]
        wrong = []
        for job in jobs:
            attempts = self._farm.attempts([job])
            wrong += [f"job {job}: {problem}" for problem in self._look(job, attempts, losers)]
        return wrong

    def _look(self, job: int, attempts: list[Attempt], losers: dict[str, int]) -> Iterator[str]:
        *lost, last = attempts
        told = [(item.node, item.outcome, item.reason) for item in attempts]
        # An answer with a lease may be what is cut; and somebody may be editing what is installed here.
        excused = [item for item in lost if (not item.text and item.outcome == "lost") or _EDITED in item.reason]
        real = [item for item in lost if item not in excused]
        if last.outcome != "passed" or len(real) > 1:
            yield f"it was tried by {told}"
        if any(item.outcome != "lost" or item.node not in losers for item in real):
            yield f"it was tried by {told}, of which none should be lost"
        if self._farm.ended(job) != len(attempts):
            yield f"it has {len(attempts)} attempts, and {self._farm.ended(job)} have ended"
        if self._farm.began(job) > 1 + sum(item.node in losers for item in lost):
            yield f"it was begun {self._farm.began(job)} times"
        if (page := self._farm.page(job))["outcome"] != "passed":
            yield f"it is {page['outcome']} on its page"
        yield from filter(None, (_gap(item.text, losers.get(item.node, 0)) for item in real))
        yield from filter(None, [_odd(last.text)])


def _gap(text: str, heard: int) -> str:
    """Return what is wrong with the log of a lost attempt: it may end anywhere after what its test node heard of.

    That may be after the command has passed, when the test node was killed before it could say so.
    """
    whole = _whole() + _PASSED
    if not (whole.startswith(text[: len(whole)]) and len(text) >= heard):
        return f"the log of a lost attempt has {len(text)} bytes of {heard} acknowledged, and ends with {text[-40:]!r}"
    return ""


def _odd(text: str) -> str:
    """Return what is wrong with the log of an attempt that counts."""
    *lines, last = text.splitlines() or [""]
    expected = _whole().splitlines()
    return "" if lines == expected and last.startswith(_PASSED) else f"its log is {text[-200:]!r}"


def _whole() -> str:
    return "== command\n" + "".join(f"line {number}\n" for number in range(LINES))


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def _say(text: str) -> None:
    sys.stderr.write(f"[{time.monotonic() - _BEGAN:6.1f} s] {text}\n")


def main() -> int:
    """Print one JSON object, or one line a run and what was lost; exit with 1 when anything was."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.s03")
    parser.add_argument("--json", action="store_true", help="one object on one line")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_RUNS} rounds of kills and no fault of a minute")
    parser.add_argument("--runs", type=int, help=f"rounds of kills; default: {RUNS}")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32), help="of the moments")
    options = parser.parse_args()
    kills = options.runs or (QUICK_RUNS if options.quick else RUNS)
    durations = QUICK_FAULT_SECONDS if options.quick else FAULT_SECONDS
    _say(f"seed {options.seed}")
    lost = 0
    with tempfile.TemporaryDirectory(prefix="s03-") as name:
        farm = Farm(Path(name).resolve())
        campaign = Campaign(farm, random.Random(options.seed))
        rounds: list[tuple[float, list[Callable[[], list[str]]]]] = [
            (FAULTS_LEASE, [lambda seconds=seconds: campaign.faults(seconds) for seconds in durations]),
            (KILLS_LEASE, [campaign.kills] * kills),
        ]
        for lease, calls in rounds:
            with farm.running(lease):
                for call in calls:
                    if wrong := call():
                        lost += 1
                        _say("lost: " + "\n  ".join(wrong))
                _say("stopping")
    runs = kills + len(durations)
    return report_losses("S3", "rounds of kills and faults", runs, lost, options.seed, is_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
