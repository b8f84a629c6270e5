# SPDX-License-Identifier: Apache-2.0
"""B16: a log of 20 MB: until the job is complete, until it is downloaded, and until a printed line can be read.

A job prints 200,000 lines of 100 bytes on a real test node, under its guard, and on a worker of Buildbot. Complete is
from its start to its end as each farm tells them; ``empty`` is the same for ``true``. Then the whole log is fetched and
counted. Another job prints a line each 50 ms with the time in it, and its log is asked for again and again as fast as
the farm answers, with pauses of 50 ms: that is when a line is visible. ``live`` is when our stream of events has it.
"""

import http.client
import re
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.buildbot import Buildbot
from benchmarks.farm import Farm, cpu
from benchmarks.measure import Result, main
from benchmarks.sides import Sides, sides

GOALS = {"complete": 1.5, "download": 0.2, "visible": 0.2}  # seconds
LINES = 200_000
SLOW = ("emit.py", "200", "0.05")
PAUSE = 0.05  # seconds
_SLOW_LINE = re.compile(rb"line (\d+) t=([\d.]+)")


class Lags:
    """How long after its printing each line was seen first."""

    def __init__(self) -> None:
        self.seconds: dict[bytes, float] = {}

    def see(self, text: bytes) -> None:
        """Note the lines in what was just read."""
        now = time.time()
        for number, printed in _SLOW_LINE.findall(text):
            self.seconds.setdefault(number, now - float(printed))

    def median(self) -> float:
        return statistics.median(self.seconds.values())

    def poll(self, read: Callable[[], bytes]) -> None:
        """Read until all lines are there."""
        deadline = time.monotonic() + 120
        while len(self.seconds) < int(SLOW[1]) and time.monotonic() < deadline:
            self.see(read())
            time.sleep(PAUSE)


class Ours:
    """A farm with its web tier and one real test node."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self._web = urlsplit(farm.start_web())
        self._node = farm.start_test_node("test-node")
        self._first = True

    def once(self) -> dict[str, float]:
        """One job of each sort."""
        found = {"empty": self._complete("true")[1]}
        before = cpu(self._farm.engine)
        job, found["complete"] = self._complete(sys.executable, "emit.py", str(LINES))
        found["cpu"] = cpu(self._farm.engine) - before
        started = time.perf_counter()
        check(self._get(job))
        found["download"] = time.perf_counter() - started
        polled, live = self._slow()
        return {**found, "visible": polled.median(), "worst": max(polled.seconds.values()), "live": live.median()}

    def _complete(self, *words: str) -> tuple[int, float]:
        (job,) = self._farm.command_jobs(1, *words)
        done = self._farm.wait(job)
        return job, done.seconds or 0.0

    def _slow(self) -> tuple[Lags, Lags]:
        (job,) = self._farm.command_jobs(1, sys.executable, *SLOW)
        while self._farm.job(job).attempts == 0:
            time.sleep(0.01)
        live, polled = Lags(), Lags()
        following = threading.Thread(target=self._follow, args=(job, live))
        following.start()
        polled.poll(lambda: self._get(job))
        following.join()
        self._farm.wait(job)
        return polled, live

    def _follow(self, job: int, lags: Lags) -> None:
        connection = http.client.HTTPConnection(self._web.netloc, timeout=60)
        connection.request("GET", f"/api/v1/jobs/{job}/log/live")
        answer = connection.getresponse()
        while (line := answer.readline()) and not line.startswith(b"event: end"):
            lags.see(line)
        connection.close()

    def _get(self, job: int) -> bytes:
        connection = http.client.HTTPConnection(self._web.netloc, timeout=60)
        connection.request("GET", f"/api/v1/jobs/{job}/log")
        body = connection.getresponse().read()
        connection.close()
        return body


def peer(buildbot: Buildbot) -> dict[str, float]:
    """One build of each sort."""
    found = {}
    told = buildbot.wait(buildbot.submit("trivial"))
    found["empty"] = told.ended - told.started
    before = cpu(buildbot.pid)
    told = buildbot.wait(buildbot.submit("large"))
    found["complete"] = told.ended - told.started
    found["cpu"] = cpu(buildbot.pid) - before
    with buildbot.connection() as connection:
        log = buildbot.log(connection, told.build)
        started = time.perf_counter()
        check(connection.get(f"logs/{log}/raw"))
        found["download"] = time.perf_counter() - started
        told = buildbot.wait(buildbot.submit("slow"), until="started")
        while (log := buildbot.log(connection, told.build)) is None:
            time.sleep(0.01)
        lags = Lags()
        lags.poll(lambda: connection.get(f"logs/{log}/contents?offset=0&limit=250"))
    return {**found, "visible": lags.median(), "worst": max(lags.seconds.values())}


def check(log: bytes) -> None:
    """Every line must be there."""
    if (count := len(set(re.findall(rb"line (\d+) xxx", log)))) != LINES:
        raise RuntimeError(f"{count} of {LINES} lines are in the log")


def measure_both(both: Sides, rounds: int) -> dict[str, dict[str, float]]:
    """Measure in turn; the medians."""
    farm = Ours(both.ours[both.main])
    runs: dict[str, Callable[[], dict[str, float]]] = {"ours": farm.once}
    if both.peer:
        runs["peer"] = lambda: peer(both.peer[both.main])
    found: dict[str, defaultdict[str, list[float]]] = {name: defaultdict(list) for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            for what, seconds in run().items():
                found[name][what].append(seconds)
    return {
        name: {what: round(statistics.median(items), 3) for what, items in figures.items()}
        for name, figures in found.items()
    }


def measure(quick: bool) -> Result:
    with tempfile.TemporaryDirectory(prefix="b16-") as name, sides(Path(name), only_main=True) as both:
        found = measure_both(both, 1 if quick else 3)
    ours = found["ours"]
    return Result(
        id="B16",
        what="log of 20 MB: start -> complete",
        ours=ours["complete"],
        peer=found.get("peer", {}).get("complete"),
        unit="s",
        goal="<= 1.5 s; downloaded 0.2 s; line visible 0.2 s",
        holds=all(ours[what] <= seconds for what, seconds in GOALS.items()),
        details={"database": both.main, "seconds": found, "peer_note": both.peer_note},
    )


if __name__ == "__main__":
    sys.exit(main(measure))
