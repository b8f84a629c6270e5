# SPDX-License-Identifier: Apache-2.0
"""S2: `allot build` is killed at random moments and run again, and the store is as if nothing had happened.

Each run begins with an empty store and an empty release, of parts of which several are at work at the same time. A
build of it is killed at a random moment of the time that an undisturbed one takes: the command alone, its process
group, or all that it has started. At that moment no part may have its final name that is not whole. Then the build is
run again, and when it has ended store and release must hold the same names, modes, links and bytes as undisturbed ones,
nothing temporary, and no lock that anybody holds.
"""

import argparse
import contextlib
import fcntl
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import psutil

from benchmarks.measure import report_losses
from benchmarks.yard import PATIENCE, ROOT, Yard, write_components, write_quick

RUNS: Final = 50
QUICK_RUNS: Final = 3
TRIES: Final = 5  # builds, one of which has two parts at work: the first may take all jobs until it ends
MANNERS: Final = ("command", "group", "everything")


def is_held(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def kill(process: "subprocess.Popen[str]", manner: str) -> None:
    """Kill the command alone, with its process group, or with all that it has started."""
    if manner == "command":
        process.kill()
    elif manner == "group":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        for victim in (*psutil.Process(process.pid).children(recursive=True), process):
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended by itself
                victim.kill()
    process.communicate(timeout=PATIENCE)


class Campaign:
    """``runs`` builds that are killed; each that does not end as an undisturbed one is lost."""

    def __init__(self, yard: Yard, chance: random.Random) -> None:
        self._yard = yard
        self._chance = chance
        self._seconds = 0.0  # of an undisturbed build
        self._calm: dict[str, str] = {}

    def prepare(self) -> None:
        """Fetch the sources, and look at what an undisturbed build gives."""
        self._yard.build()
        for _ in range(TRIES):
            self._yard.clear()
            self._seconds = self._yard.build()
            if self._yard.at_work() >= 2:
                break
        else:
            raise RuntimeError("no two parts were at work at the same time")
        self._calm = self._yard.picture()

    def run(self) -> list[str]:
        """Kill one build and run it again; return all that is wrong then."""
        moment, manner = self._disturb()
        sys.stderr.write(f"killed {manner} after {moment:.2f} of {self._seconds:.2f} s\n")
        wrong = self._yard.halves(self._calm)
        try:
            self._await_release()
            self._yard.build()
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            return [*wrong, str(error)]
        wrong += self._yard.differences(self._calm)
        return wrong + [f"{path} is held" for path in self._yard.locks() if is_held(path)]

    def _disturb(self) -> tuple[float, str]:
        """Kill a build of an empty store; one that has ended before its moment does not count."""
        while True:
            self._yard.clear()
            moment, manner = self._chance.uniform(0.0, self._seconds), self._chance.choice(MANNERS)
            process = self._yard.start()
            try:
                process.communicate(timeout=moment)
            except subprocess.TimeoutExpired:
                kill(process, manner)
                return moment, manner

    def _await_release(self) -> None:
        """Wait until the killed run has ended; for what it has started the next build waits by itself."""
        lock, deadline = self._yard.folder / ".lock", time.monotonic() + 60.0
        while lock.exists() and is_held(lock):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{lock} is held by what was killed")
            time.sleep(0.02)


def main() -> int:
    """Print one JSON object, or one line a run and what was lost; exit with 1 when anything was."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.s02")
    parser.add_argument("--json", action="store_true", help="one object on one line")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_RUNS} runs of parts that are made in a second")
    parser.add_argument("--runs", type=int, help=f"how many builds are killed; default: {RUNS}")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32), help="of the moments")
    options = parser.parse_args()
    runs = options.runs or (QUICK_RUNS if options.quick else RUNS)
    sys.stderr.write(f"seed {options.seed}\n")
    lost = 0
    with tempfile.TemporaryDirectory(prefix="s02-") as name:
        place = Path(name).resolve()
        profile = (write_quick if options.quick else write_components)(place)
        yard = Yard(place, profile, place / "sources" if options.quick else ROOT / "var/sources")
        campaign = Campaign(yard, random.Random(options.seed))
        campaign.prepare()
        for _ in range(runs):
            if wrong := campaign.run():
                lost += 1
                sys.stderr.write("lost: " + "\n  ".join(wrong) + "\n")
        yard.clear()
    return report_losses("S2", "builds killed", runs, lost, options.seed, is_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
