# SPDX-License-Identifier: Apache-2.0
"""1,000 promises of which 50 hang, 50 crash, 50 print 10 MB and 50 leave children: the other 800 are on time.

A real node with 25 partitions of 40 promises, each promise once in ten seconds. How late the 800 begin is told as B9
does; a run that is missing, a process that is left at the end, and memory that grows fail it.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import psutil

from allotment_promises.history import History
from benchmarks.b09 import lateness, sample
from benchmarks.measure import machine
from benchmarks.watched import WatchedNode

PARTITIONS: Final = 25
PROMISES: Final = 40  # of a partition, of which eight misbehave
PERIOD: Final = 10.0  # seconds
LATE: Final = PERIOD / 2  # seconds that a run may be late, on a machine that does other things too
GROWTH: Final = 20e6  # bytes
KINDS: Final = {
    "hangs": ["sleep", "98.7"],
    # only the process of its own, which leads a session: that may have crashed already, and then its heir is the parent
    "crashes": ["sh", "-c", '[ "$(cut -d " " -f 6 /proc/$PPID/stat)" = $PPID ] && kill -SEGV $PPID; sleep 1'],
    "prints": ["sh", "-c", "head -c 5000000 /dev/zero; head -c 5000000 /dev/zero >&2"],
    "forks": ["sh", "-c", "sleep 98.7 & setsid sleep 98.7 & exit 0"],
}
EXPECTED: Final = {"hangs": False, "crashes": None, "prints": True, "forks": True}


def spoil(node: WatchedNode) -> None:
    """Put two promises of each kind in the place of the last eight of each partition."""
    for name in node.config.partition_names:
        folder = node.folder.partition(name) / "etc" / "promise"
        for number, (kind, command) in enumerate([*KINDS.items()] * 2):
            (folder / f"p{PROMISES - 1 - number:03}.json").unlink()
            options = {"command": command, "timeout": 100.0}
            data = {"format": 1, "type": "check_command_execute", "period": PERIOD, "timeout": 2.0, "options": options}
            (folder / f"{kind}-{number}.json").write_text(json.dumps(data))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true", help="one object on one line")
    parser.add_argument("--quick", action="store_true", help="one minute instead of five")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory(prefix="misbehaving-") as folder:
        node = WatchedNode(Path(folder) / "node", PARTITIONS, PROMISES, PERIOD)
        spoil(node)
        with node.running() as agent:
            time.sleep(3 * PERIOD)
            since = time.time()
            seen = sample(agent, 60.0 if quick else 300.0)
            descendants = agent.children(recursive=True)
        wrong = unexpected(node)
        late, missing = lateness(node, since, PROMISES - 8, PERIOD)
    left = [item.pid for item in {*descendants, *psutil.process_iter()} if _is_left(item, descendants)]
    third = len(seen) // 3
    begin, end = (statistics.median(item.memory for item in some) for some in (seen[:third], seen[-third:]))
    holds = late[-1] <= LATE and not missing and not left and not wrong and end - begin <= GROWTH
    figures = {
        "id": "misbehaving",
        "holds": holds,
        "runs": len(late),
        "missing": missing,
        "late_median_s": round(statistics.median(late), 4),
        "late_p99_s": round(late[int(len(late) * 0.99)], 3),
        "late_most_s": round(late[-1], 3),
        "memory_begin_mb": round(begin / 1e6, 1),
        "memory_end_mb": round(end / 1e6, 1),
        "processes_left": len(left),
        "wrong": wrong,
        "machine": machine(),
    }
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0 if holds else 1


def unexpected(node: WatchedNode) -> list[str]:
    """Return the promises of which a measurement is not what its kind comes to."""
    found = []
    for name in node.config.partition_names:
        with History(node.folder.partition(name)) as history:
            for latest in history.names():
                kind = latest.partition("-")[0]
                records = history.newest(latest, 3)
                if any(item.is_passed is not EXPECTED.get(kind, True) for item in records):
                    found.append(f"{name} {latest}: {records[-1].message}")
    return found


def _is_left(process: psutil.Process, descendants: list[psutil.Process]) -> bool:
    """Whether a process is one of the node's, or a child that a promise has left."""
    try:
        is_ours = process in descendants or process.cmdline() == KINDS["hangs"]
        return is_ours and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


if __name__ == "__main__":
    sys.exit(main())
