# SPDX-License-Identifier: Apache-2.0
"""B9: 10,000 promises on one node, each once a minute, for ten minutes.

The node is the real program with 250 partitions of 40 promises, and nothing else to do. CPU is that of the agent and of
all processes below it, those that have ended too; memory is the sum of their proportional set sizes, looked at each
second. Neither counts the supervisor of services, which is detached from the agent. Both are told from a minute after
the start on. How late a run begins is read from the histories: each promise is compared with its own most punctual run.
The picture is written to ``docs/explanation/b09.svg`` by the full form, and to ``var/b09.svg`` by the quick one.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import psutil

from allotment_promises.history import History
from benchmarks import chart
from benchmarks.measure import Result, main
from benchmarks.watched import Use, WatchedNode, use

GOAL_CPU: Final = 25.0  # % of one core
GOAL_MEMORY: Final = 150.0  # MB
PARTITIONS: Final = 250
PROMISES: Final = 40  # of a partition
PERIOD: Final = 60.0  # seconds
STEPS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, float("inf"))  # of the picture, seconds
ROOT: Final = Path(__file__).parents[1]


def sample(agent: psutil.Process, seconds: float) -> list[Use]:
    """Look each second."""
    found = [use(agent)]
    while found[-1].at < found[0].at + seconds:
        time.sleep(max(0.0, found[0].at + len(found) - time.monotonic()))
        found.append(use(agent))
    return found


def lateness(
    node: WatchedNode, since: float, promises: int = PROMISES, period: float = PERIOD
) -> tuple[list[float], int]:
    """Return how late each run since then was, against its promise's most punctual one, and how many are missing."""
    late: list[float] = []
    missing = 0
    for name in node.config.partition_names:
        with History(node.folder.partition(name)) as history:
            for promise in (f"p{number:03}" for number in range(promises)):
                times = [item.time for item in history.newest(promise, 100) if item.time >= since]
                if not times:
                    missing += 1
                    continue
                beats = [at - round((at - times[0]) / period) * period for at in times]
                late += [beat - min(beats) for beat in beats]
                missing += round((times[-1] - times[0]) / period) + 1 - len(times)
    return sorted(late), missing


def draw(path: Path, late: list[float], seen: list[Use], minutes: int) -> None:
    counts = [sum(low <= item < high for item in late) for low, high in zip((0.0, *STEPS), STEPS, strict=False)]
    labels = [f"< {step:g} s" if step < 5 else "< 5 s" if step == 5 else "more" for step in STEPS]
    cpu = [
        100 * (after.cpu - before.cpu) / (after.at - before.at) for before, after in zip(seen, seen[10:], strict=False)
    ]
    ticks = [f"{minute} min" for minute in range(minutes + 1)]
    memory = [item.memory / 1e6 for item in seen]
    chart.write(
        path,
        f"{PARTITIONS * PROMISES:,} promises, each once a minute",
        [
            chart.Panel("Runs, by how late they began", [100 * item / len(late) for item in counts], labels, "%"),
            chart.Panel("CPU of all processes, of one core, over ten seconds", cpu, ticks, "%", True, GOAL_CPU),
            chart.Panel("Memory of all processes (PSS)", memory, ticks, "MB", True, GOAL_MEMORY),
        ],
    )


def measure(quick: bool) -> Result:
    minutes = 1 if quick else 10
    with tempfile.TemporaryDirectory(prefix="b9-") as folder:
        node = WatchedNode(Path(folder) / "node", PARTITIONS, PROMISES, PERIOD)
        with node.running() as agent:
            time.sleep(PERIOD)  # all have run once, and are spread
            since = time.time()
            seen = sample(agent, 60.0 * minutes)
        late, missing = lateness(node, since - (PERIOD if quick else 0.0))
    cpu = 100 * (seen[-1].cpu - seen[0].cpu) / (seen[-1].at - seen[0].at)
    memory = [item.memory / 1e6 for item in seen]
    typical = statistics.median(memory)
    draw(ROOT / ("var/b09.svg" if quick else "docs/explanation/b09.svg"), late, seen, minutes)
    return Result(
        id="B9",
        what=f"{PARTITIONS * PROMISES:,} promises, once a minute each: CPU",
        ours=round(cpu, 1),
        peer=None,
        unit="%",
        goal=f"<= {GOAL_CPU:g} % of one core, <= {GOAL_MEMORY:g} MB",
        holds=cpu <= GOAL_CPU and typical <= GOAL_MEMORY and not missing,
        details={
            "memory_median_mb": round(typical, 1),
            "memory_most_mb": round(max(memory), 1),
            "late_median_s": round(statistics.median(late), 4),
            "late_p99_s": round(late[int(len(late) * 0.99)], 3),
            "late_most_s": round(late[-1], 3),
            "runs": len(late),
            "missing": missing,
            "minutes": minutes,
            "peer_note": "slapos.core 1.26.1 takes 60 ms for each, in turn: ten minutes for one round",
        },
    )


if __name__ == "__main__":
    sys.exit(main(measure))
