# SPDX-License-Identifier: Apache-2.0
"""B13: on an idle farm, how long from a job's creation until a waiting test node has its lease.

Our engine is a real process with a real git repository; this process is the test node and long-polls over the wire.
Polling git is not part of it: ``--poll`` says how late a commit is seen. The peer is asked for a build over HTTP, and
has started when its stream of events says so. ``floor``, measured in turn, is one request that our engine answers
after one write to its database. ``retried`` is a job that a command of another process sets waiting.
"""

import random
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path

from allotment_testfarm.db import jobs
from benchmarks.buildbot import Buildbot
from benchmarks.farm import Farm, Node
from benchmarks.measure import Result, main
from benchmarks.sides import Sides, sides

GOAL_SECONDS = 0.030
NODE = "bench"
SETTLED = 0.3  # seconds: by then the long poll waits at the engine


def one_commit(farm: Farm, node: Node) -> float:
    """Wait for a lease, then commit: return the seconds from the job's creation to the lease's arrival."""
    committing = threading.Timer(SETTLED, farm.commit, (["trivial"],))
    committing.start()
    lease = node.lease()
    arrived = time.time()
    committing.join()
    node.work(lease)
    return arrived - farm.job(lease.job.id).created


def one_retry(farm: Farm, node: Node, job: int) -> float:
    """Wait for a lease, then have a job run again, as ``allot farm retry`` does it."""
    asked: list[float] = []

    def retry() -> None:
        asked.append(time.time())
        with farm.database.write() as connection:
            jobs.retry(connection, job, asked[0])

    asking = threading.Timer(SETTLED + random.random(), retry)  # at any moment between two looks of the engine
    asking.start()
    lease = node.lease()
    arrived = time.time()
    asking.join()
    node.work(lease)
    return arrived - asked[0]


def one_hello(node: Node) -> float:
    started = time.perf_counter()
    node.greet()
    return time.perf_counter() - started


def one_build(buildbot: Buildbot, number: int) -> float:
    """Return the seconds from just before the request to the event of its start."""
    asked = time.time()
    request = buildbot.submit("trivial", number)
    told = buildbot.wait(request)
    return told.started - asked


def rounds(both: Sides, count: int) -> dict[str, list[float]]:
    """Measure all in turn; the first round starts caches and is not counted."""
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    clients = {kind: farm.client() for kind, farm in both.ours.items()}
    nodes = {kind: Node(client, NODE) for kind, client in clients.items()}
    for number in range(count + 1):
        for kind, farm in both.ours.items():
            seconds[f"ours {kind}"].append(one_commit(farm, nodes[kind]))
            seconds[f"floor {kind}"].append(one_hello(nodes[kind]))
            seconds[f"retried {kind}"].append(one_retry(farm, nodes[kind], 1))
            if kind in both.peer:
                seconds[f"peer {kind}"].append(one_build(both.peer[kind], number))
    for client in clients.values():
        client.close()
    return {name: items[1:] for name, items in seconds.items()}


def measure(quick: bool) -> Result:
    with tempfile.TemporaryDirectory(prefix="b13-") as name, sides(Path(name), poll=0.5) as both:
        seconds = rounds(both, 4 if quick else 30)
        kind = both.main
        medians = {what: round(statistics.median(items), 4) for what, items in seconds.items()}
        worst = {what: round(max(items), 4) for what, items in seconds.items()}
    return Result(
        id="B13",
        what="idle farm: job made -> lease at a test node",
        ours=medians[f"ours {kind}"],
        peer=medians.get(f"peer {kind}"),
        unit="s",
        goal="<= 30 ms",
        holds=all(medians[f"ours {each}"] <= GOAL_SECONDS for each in both.ours),
        details={"database": kind, "medians": medians, "worst": worst, "peer_note": both.peer_note},
    )


if __name__ == "__main__":
    sys.exit(main(measure))
