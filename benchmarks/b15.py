# SPDX-License-Identifier: Apache-2.0
"""B15: what a claim costs with 100 and with 100,000 jobs waiting; and how long a restart takes with 25,000.

Both engines are real processes; a claim is one lease over the wire. Its CPU is the engine's, so that is what is
compared: the means of batches that are measured in turn. The restart ends with the first lease of the new process, and
``restart_empty`` is the same with one job. Buildbot has no figure here: it reads its whole queue for each build.
"""

import hashlib
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from allotment.messages.job import JobState
from allotment_testfarm.db.schema import jobs
from benchmarks import postgresql
from benchmarks.farm import Farm, Node, cpu
from benchmarks.measure import Result, main

FEW, MANY, RESTARTED = 100, 100_000, 25_000
GOAL_GROWTH = 1.2
GOAL_RESTART = 2.0  # seconds
BATCH = 20  # claims, of which the CPU is told in ticks of 10 ms
_CHUNK = 10_000


def fill(farm: Farm, count: int) -> None:
    """Let so many jobs wait, all of one revision, each with inputs of its own."""
    with farm.database.write() as connection:
        for first in range(0, count, _CHUNK):
            numbers = range(first, min(first + _CHUNK, count))
            connection.execute(sa.insert(jobs), [_row(number) for number in numbers])


def _row(number: int) -> dict[str, object]:
    name = f"waiting-{number:06}"
    return {
        "project_id": 1,
        "revision_id": 1,
        "position": 1,
        "release": name,
        "profile": f"software/{name}/software.cfg",
        "kind": "release",
        "platform": "any",
        "timeout": 3600.0,
        "options": {},
        "state": JobState.WAITING,
        "created": time.time(),
        "files": hashlib.sha256(name.encode()).hexdigest(),
    }


class Claims:
    """One engine with a queue that ends with ``count`` jobs after ``rounds`` batches, and its test node."""

    def __init__(self, farm: Farm, count: int, rounds: int, stack: ExitStack) -> None:
        self._farm = stack.enter_context(farm)
        refill(farm, count + rounds * BATCH + 1)
        self._node = Node(stack.enter_context(farm.client()), "bench")
        self._node.end(self._node.lease())
        self.claims: list[float] = []  # CPU seconds of each batch
        self.results: list[float] = []
        self.latencies: list[float] = []

    def batch(self) -> None:
        """Claim some jobs, then end them."""
        before = cpu(self._farm.engine)
        leases = []
        for _ in range(BATCH):
            started = time.perf_counter()
            leases.append(self._node.lease())
            self.latencies.append(time.perf_counter() - started)
        between = cpu(self._farm.engine)
        for lease in leases:
            self._node.end(lease)
        self.claims.append(between - before)
        self.results.append(cpu(self._farm.engine) - between)

    def figures(self) -> dict[str, float]:
        """Milliseconds of CPU a claim and a result, and of a claim's latency."""
        return {
            "claim_cpu_ms": round(statistics.fmean(self.claims) / BATCH * 1000, 2),
            "result_cpu_ms": round(statistics.fmean(self.results) / BATCH * 1000, 2),
            "claim_ms": round(statistics.median(self.latencies) * 1000, 2),
        }


def refill(farm: Farm, count: int) -> float:
    """Let jobs wait while the engine is away; return the seconds from its new start until it hears test nodes."""
    farm.stop_engine()
    fill(farm, count)
    started = time.perf_counter()
    farm.start_engine()
    return time.perf_counter() - started


def restart(farm: Farm, count: int) -> float:
    """Return the seconds from the start of an engine to its first lease."""
    with farm:
        seconds = refill(farm, count)
        with farm.client() as client:
            started = time.perf_counter()
            node = Node(client, "bench")
            node.end(node.lease())
            return seconds + time.perf_counter() - started


def measure_one(folder: Path, server: postgresql.Server | None, rounds: int) -> dict[str, Any]:
    """Measure over one kind of database: SQLite where there is no server."""

    def farm(name: str) -> Farm:
        (folder / name).mkdir(parents=True)
        return Farm(folder / name, server.create(name) if server else "", poll=3600.0)

    with ExitStack() as stack:
        sides = {count: Claims(farm(f"waiting_{count}"), count, rounds, stack) for count in (FEW, MANY)}
        for _ in range(rounds):
            for side in sides.values():
                side.batch()
        found: dict[str, Any] = {str(count): side.figures() for count, side in sides.items()}
    found["growth"] = round(found[str(MANY)]["claim_cpu_ms"] / found[str(FEW)]["claim_cpu_ms"], 3)
    found["restart"] = round(restart(farm("restarted"), RESTARTED), 2)
    found["restart_empty"] = round(restart(farm("empty"), 1), 2)
    return found


def measure(quick: bool) -> Result:
    rounds = 4 if quick else 20
    with tempfile.TemporaryDirectory(prefix="b15-") as name, postgresql.server() as server:
        found = {"sqlite": measure_one(Path(name) / "sqlite", None, rounds)}
        if server is not None and not quick:
            found["postgresql"] = measure_one(Path(name) / "postgresql", server, rounds)
    growth = max(item["growth"] for item in found.values())
    restarted = max(item["restart"] for item in found.values())
    return Result(
        id="B15",
        what=f"claim with {MANY} jobs waiting / with {FEW}",
        ours=growth,
        peer=None,
        unit="x",
        goal="<= 1.2 x; restart with 25,000 <= 2 s",
        holds=growth <= GOAL_GROWTH and restarted <= GOAL_RESTART,
        details={"restart": restarted, **found, "peer_note": "buildbot reads its whole queue for each build"},
    )


if __name__ == "__main__":
    sys.exit(main(measure))
