# SPDX-License-Identifier: Apache-2.0
"""B14: 200 trivial jobs for four test nodes: CPU of our engine, and of Buildbot's master, for each; and their rate.

Ours begin as one commit that changes 200 releases. Four test nodes, threads of this process, say over the wire what one
says of a job with one step and one line of log. Buildbot's begin as 200 requests on four connections, a fifth as many
over SQLite, and its four workers run ``true``; so the CPU of the two masters is for the same, and not that of those who
do the jobs. The rate is from the first job's creation, or request, to the last one's end. ``guarded`` is the rate of
ours with four real test nodes, each of which runs ``true`` in a scratch folder, under a guard: fresh processes for each
job.
"""

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.buildbot import Buildbot
from benchmarks.farm import Farm, Node, cpu
from benchmarks.measure import Result, main
from benchmarks.sides import POSTGRESQL, SQLITE, Sides, sides

GOAL_CPU_MS = 10
GOAL_RATES = {POSTGRESQL: 60, SQLITE: 20}  # jobs a second
NODES = 4


@dataclass(frozen=True)
class Burst:
    """What some jobs took."""

    jobs: int
    seconds: float
    cpu: float  # seconds of the engine, or master

    @property
    def rate(self) -> float:
        """Jobs a second."""
        return self.jobs / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Milliseconds a job."""
        return self.cpu / self.jobs * 1000


def ours(farm: Farm, count: int) -> Burst:
    """One commit that changes ``count`` releases."""
    before = cpu(farm.engine)
    left = threading.Semaphore(count)
    firsts: list[int] = []

    def work(number: int) -> float:
        with farm.client() as client:
            node = Node(client, f"bench-{number}")
            while left.acquire(blocking=False):
                lease = node.lease()
                firsts.append(lease.job.id)
                node.work(lease)
            return time.time()

    with ThreadPoolExecutor(NODES) as pool:
        working = [pool.submit(work, number) for number in range(NODES)]
        farm.commit([f"trivial-{number}" for number in range(count)])
        ended = max(each.result() for each in working)
    return Burst(count, ended - farm.job(min(firsts)).created, cpu(farm.engine) - before)


def peer(buildbot: Buildbot, count: int) -> Burst:
    """As many requests."""
    before, started = cpu(buildbot.pid), time.time()

    def ask(first: int) -> list[int]:
        with buildbot.connection() as connection:
            return [connection.force(buildbot.builder(number), number) for number in range(first, count, NODES)]

    with ThreadPoolExecutor(NODES) as pool:
        requests = [request for found in pool.map(ask, range(NODES)) for request in found]
    ended = max(buildbot.wait(request).ended for request in requests)
    return Burst(count, ended - started, cpu(buildbot.pid) - before)


def guarded(farm: Farm, count: int) -> Burst:
    """``true`` on real test nodes, which have joined and done a first job before."""
    for number in range(NODES):
        farm.start_test_node(f"test-node-{number}")
    for job in farm.command_jobs(NODES, "true"):
        farm.wait(job)
    before, started = cpu(farm.engine), time.time()
    made = farm.command_jobs(count, "true")
    ended = max(farm.wait(job).ended or 0.0 for job in made)
    return Burst(count, ended - started, cpu(farm.engine) - before)


def bursts(both: Sides, count: int, rounds: int) -> dict[str, list[Burst]]:
    """Measure all in turn, after a few jobs that are not counted."""
    runs: dict[str, Callable[[int], Burst]] = {}
    for kind, farm in both.ours.items():
        runs[f"ours {kind}"] = lambda jobs, farm=farm: ours(farm, jobs)
        if kind in both.peer:
            part = 5 if kind == SQLITE else 1  # over SQLite it takes minutes
            runs[f"peer {kind}"] = lambda jobs, buildbot=both.peer[kind], part=part: peer(buildbot, jobs // part or 1)
    for run in runs.values():
        run(NODES)
    found: dict[str, list[Burst]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            found[name].append(run(count))
    return found


def measure(quick: bool) -> Result:
    count, rounds = (40, 1) if quick else (200, 2)
    with tempfile.TemporaryDirectory(prefix="b14-") as name, sides(Path(name), slow_peer=not quick, poll=0.5) as both:
        found = bursts(both, count, rounds)
        full = guarded(both.ours[both.main], count // 5)
    cpu_ms = {name: round(statistics.median(item.cpu_ms for item in items), 2) for name, items in found.items()}
    rates = {name: round(statistics.median(item.rate for item in items), 1) for name, items in found.items()}
    mine = {name: f"ours {name}" for name in both.ours}
    return Result(
        id="B14",
        what=f"{count} trivial jobs: CPU of each",
        ours=cpu_ms[mine[both.main]],
        peer=cpu_ms.get(f"peer {both.main}"),
        unit="ms",
        goal=">= 60/s (SQLite 20/s), <= 10 ms CPU each",
        holds=all(cpu_ms[each] <= GOAL_CPU_MS and rates[each] >= GOAL_RATES[kind] for kind, each in mine.items()),
        details={
            "database": both.main,
            "cpu_ms": cpu_ms,
            "per_second": rates,
            "guarded_per_second": round(full.rate, 1),
            "guarded_cpu_ms": round(full.cpu_ms, 2),
            "peer_note": both.peer_note,
        },
    )


if __name__ == "__main__":
    sys.exit(main(measure))
