# SPDX-License-Identifier: Apache-2.0
"""S4 for builds: the disk is full in the middle of `allot build`, which says so and goes on when there is space again.

Store and release are on a small disk of their own, mounted in namespaces: any user may do that. Each run begins with
both empty. A build of it meets a full disk: from the start, with a random amount of space left, or as soon as its first
part is being unpacked, compiled, installed, sealed or noted. It must end with an error that names the full disk and has
no traceback, and no part may have its final name that is not whole. Then there is space again, the build is run once
more, and store and release must hold the same names, modes, links and bytes as undisturbed ones.
"""

import argparse
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from allotment_recipes.store import padded_root
from benchmarks.measure import report_losses
from benchmarks.small_disk import SmallDisk, small_disk
from benchmarks.yard import PATIENCE, ROOT, Yard, write_components, write_quick

QUICK_SIZE: Final = 4 << 20  # bytes of the disk
SIZE: Final = 96 << 20
ROUNDS: Final = 3  # runs of each stage
TRIES: Final = 8  # builds in which a stage may pass before the disk is full
FULL: Final = os.strerror(28)  # No space left on device


@dataclass(frozen=True)
class DiskYard(Yard):
    """One store and one release on the small disk; ``place`` is where it is seen from outside."""

    disk: SmallDisk

    @property
    def store(self) -> Path:
        return self.place / padded_root(self.disk.place / "store").relative_to(self.disk.place)

    def start(self) -> "subprocess.Popen[str]":
        inside = self.disk.place
        words = ["--folder", inside / "release", "--sources", self.sources, "--store", inside / "store"]
        command = [*self.disk.inside, sys.executable, "-m", "allotment", "build", self.profile, *map(str, words)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True, start_new_session=True)

    def work(self) -> Iterator[Path]:
        """Yield what the parts at work have in their work folders."""
        with contextlib.suppress(OSError):
            yield from self.store.glob(".work/*/source/*")

    def new(self) -> Iterator[Path]:
        """Yield the parts that are being installed."""
        with contextlib.suppress(OSError):
            yield from self.store.glob(".*.new")


def _is_installing(yard: DiskYard) -> bool:
    with contextlib.suppress(OSError):
        return any(any(folder.iterdir()) for folder in yard.new())
    return False


def _is_sealing(yard: DiskYard) -> bool:
    with contextlib.suppress(OSError):
        return any(not path.stat().st_mode & 0o200 for folder in yard.new() for path in folder.glob("*"))
    return False


STAGES: Final[Mapping[str, Callable[[DiskYard], bool]]] = {
    "unpacking": lambda yard: any(yard.work()),
    "compiling": lambda yard: any(path.suffix in (".o", ".lo") or path.name == "one" for path in yard.work()),
    "installing": _is_installing,
    "noting": lambda yard: any(yard.store.glob(".built/*")),
    "sealing": _is_sealing,
}


class Campaign:
    """Builds that meet a full disk; each that does not tell it, or does not end as an undisturbed one, is lost."""

    def __init__(self, yard: DiskYard, chance: random.Random) -> None:
        self._yard = yard
        self._disk = yard.disk
        self._chance = chance
        self._needed = 0  # bytes of store and release
        self._calm: dict[str, str] = {}

    def prepare(self) -> None:
        """Fetch the sources, and look at what an undisturbed build gives."""
        free = self._disk.free
        self._yard.build()
        self._needed = free - self._disk.free
        self._yard.clear()
        self._yard.build()
        self._calm = self._yard.picture()

    def run(self, stage: str) -> list[str]:
        """Let one build meet a full disk at a stage, and run it again with space; return all that is wrong."""
        output, code = self._disturb(stage)
        wrong = self._yard.halves(self._calm)
        if code == 0:
            wrong.append("the build met no full disk")
        elif FULL not in output.splitlines()[-1] and FULL not in _error(output):
            wrong.append(f"the error does not name the full disk:\n{_error(output)}")
        if "Traceback" in output:
            wrong.append(f"the build has a traceback:\n{output}")
        self._disk.relieve()
        try:
            self._yard.build()
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            return [*wrong, str(error)]
        return wrong + self._yard.differences(self._calm)

    def _disturb(self, stage: str) -> tuple[str, int]:
        """Return what the build told, and how it ended; one that has ended before the disk was full does not count."""
        output, code = "", 0
        for _ in range(TRIES):
            self._disk.relieve()
            self._yard.clear()
            if stage == "start":
                self._disk.fill()
            elif stage == "amount":
                self._disk.fill(self._chance.randrange(self._needed))
            with self._yard.start() as process:
                if stage in STAGES:
                    while process.poll() is None and not STAGES[stage](self._yard):
                        time.sleep(0.0005)
                    self._disk.fill()
                output, _ = process.communicate(timeout=PATIENCE)
                code = process.returncode
            if code != 0:
                break
        return output, code


def _error(output: str) -> str:
    return output[output.rfind("\nerror: ") :].strip()


def main() -> int:
    """Print one JSON object, or one line and what was lost; exit with 1 when anything was."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.s04")
    parser.add_argument("--json", action="store_true", help="one object on one line")
    parser.add_argument("--quick", action="store_true", help="each stage once, with parts that are made in a second")
    parser.add_argument("--rounds", type=int, help=f"runs of each stage; default: {ROUNDS}")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32), help="of the amounts")
    options = parser.parse_args()
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    sys.stderr.write(f"seed {options.seed}\n")
    stages = [*STAGES, "start", "amount"] * rounds
    lost = 0
    with tempfile.TemporaryDirectory(prefix="s04-") as name:
        place = Path(name).resolve()
        profile = (write_quick if options.quick else write_components)(place)
        sources = place / "sources"
        if not options.quick:
            shutil.copytree(ROOT / "var/sources", sources)
        with small_disk(place / "disk", str(QUICK_SIZE if options.quick else SIZE)) as disk:
            campaign = Campaign(DiskYard(disk.outside, profile, sources, disk), random.Random(options.seed))
            campaign.prepare()
            for stage in stages:
                wrong = campaign.run(stage)
                sys.stderr.write(f"full while {stage}: {'lost' if wrong else 'nothing lost'}\n")
                if wrong:
                    lost += 1
                    sys.stderr.write("  " + "\n  ".join(wrong) + "\n")
    return report_losses("S4", "builds on a full disk", len(stages), lost, options.seed, is_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
