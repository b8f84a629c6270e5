# SPDX-License-Identifier: Apache-2.0
"""B8: 200 trivial promises of one partition, ours and slapos.core's launcher in turn.

Each promise looks whether a file is empty, ours by ``check_file_state``, theirs by the plugin of this name of
slapos.toolbox. Ours is a batch of a launcher that runs, as in a node's agent; ``cold`` is that of a new launcher with
its process to be started, and ended. The peer's is ``run()`` of its launcher in a new process, its imports not
counted; with them it is ``peer_process``. ``others_beside_a_hang`` is when the results of the 200 are there when
another promise of the partition hangs.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Final

from allotment_promises.launcher import Launcher
from benchmarks import peers
from benchmarks.measure import Result, main

GOAL_SECONDS: Final = 0.3
GOAL_RATIO: Final = 40.0
PROMISES: Final = 200
HANG_SECONDS: Final = 5.0

PLUGIN: Final = """\
extra_config_dict = {{"filename": {file!r}, "state": "empty"}}
from slapos.promise.plugin.check_file_state import RunPromise
"""
PEER: Final = """\
import json, logging, os, sys, time
from slapos.grid.promise import PromiseLauncher
folder = sys.argv[1]
logging.basicConfig(level=logging.WARNING)
started = time.perf_counter()
PromiseLauncher(config={
    "promise-folder": folder + "/etc/plugin", "legacy-promise-folder": folder + "/etc/promise",
    "partition-folder": folder, "log-folder": folder + "/var/log", "promise-timeout": 20, "force": True,
    "check-anomaly": False, "uid": os.getuid(), "gid": os.getgid(), "partition-id": "slappart0",
    "computer-id": "local", "master-url": "http://127.0.0.1:1"}, logger=logging.getLogger("promises")).run()
print(json.dumps(time.perf_counter() - started))
"""


def make_ours(folder: Path) -> Path:
    """Return a partition with the promises."""
    (folder / "etc/promise").mkdir(parents=True)
    (folder / "empty").touch()
    data = {"format": 1, "type": "check_file_state", "options": {"filename": "empty", "state": "empty"}}
    for number in range(PROMISES):
        (folder / f"etc/promise/p{number:03}.json").write_text(json.dumps(data))
    return folder


def make_theirs(folder: Path) -> Path:
    for name in ("etc/plugin", "etc/promise", "var/log"):
        (folder / name).mkdir(parents=True)
    (folder / "empty").touch()
    for number in range(PROMISES):
        text = PLUGIN.format(file=str(folder / "empty"))
        (folder / f"etc/plugin/p{number:03}.py").write_text(text)
    return folder


def run_ours(launcher: Launcher, partition: Path) -> float:
    started = time.perf_counter()
    results = launcher.run(partition, "anomaly")
    seconds = time.perf_counter() - started
    if [str(item.status) for item in results] != ["passed"] * PROMISES:
        raise RuntimeError(f"not all promises passed: {results}")
    return seconds


def run_cold(partition: Path) -> float:
    started = time.perf_counter()
    with Launcher() as launcher:
        run_ours(launcher, partition)
    return time.perf_counter() - started


def run_beside_a_hang(launcher: Launcher, partition: Path) -> float:
    """Return the seconds until all results but one are there."""
    path = partition / "etc/promise/hangs.json"
    options = {"command": ["sleep", "60"], "timeout": 60.0}
    data = {"format": 1, "type": "check_command_execute", "timeout": HANG_SECONDS, "options": options}
    path.write_text(json.dumps(data))
    started = time.perf_counter()
    left = PROMISES
    for results in launcher.groups(partition, "anomaly"):
        left -= len(results)
        if left <= 0:
            break
    seconds = time.perf_counter() - started
    path.unlink()
    return seconds


def peer_runs(folder: Path) -> tuple[Callable[[], tuple[float, float]] | None, str]:
    """Return a function that runs the peer once, for the seconds of its run and of its process; and a note."""
    try:
        python = peers.virtualenv("slapos", peers.SLAPOS) / "bin" / "python"
    except peers.MissingError as error:
        return None, str(error)
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    partition = make_theirs(folder)

    def run() -> tuple[float, float]:
        started = time.perf_counter()
        words = [str(python), "-c", PEER, str(partition)]
        done = subprocess.run(words, check=True, capture_output=True, text=True, env=environment)
        seconds = time.perf_counter() - started
        found = len(list((partition / ".slapgrid/promise/result").iterdir()))
        if found != PROMISES:
            raise RuntimeError(f"the peer has {found} results: {done.stdout}{done.stderr}")
        return float(done.stdout.split()[-1]), seconds

    return run, f"{peers.SLAPOS[0]}, in turn"


def measure(quick: bool) -> Result:
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="b8-") as name, Launcher() as launcher:
        partition = make_ours(Path(name) / "ours")
        run_peer, note = peer_runs(Path(name) / "peer")
        run_ours(launcher, partition)
        for _ in range(2 if quick else 5):
            for _ in range(5):
                seconds["ours"].append(run_ours(launcher, partition))
            seconds["cold"].append(run_cold(partition))
            seconds["beside"].append(run_beside_a_hang(launcher, partition))
            if run_peer is not None:
                inside, whole = run_peer()
                seconds["peer"].append(inside)
                seconds["peer_process"].append(whole)
    median = {what: round(statistics.median(items), 4) for what, items in seconds.items()}
    is_far_ahead = "peer" not in median or median["peer"] >= GOAL_RATIO * median["ours"]
    is_not_delayed = median["beside"] <= median["ours"] + 1.0
    return Result(
        id="B8",
        what=f"{PROMISES} trivial promises of a partition",
        ours=median["ours"],
        peer=median.get("peer"),
        unit="s",
        goal=f"<= {GOAL_SECONDS} s, {GOAL_RATIO:g} x",
        holds=median["ours"] <= GOAL_SECONDS and is_far_ahead and is_not_delayed,
        details={
            "cold": median["cold"],
            "others_beside_a_hang": median["beside"],
            "slowest": round(max(seconds["ours"]), 4),
            "peer_process": median.get("peer_process"),
            "peer_note": note,
        },
    )


if __name__ == "__main__":
    sys.exit(main(measure))
