# SPDX-License-Identifier: Apache-2.0
"""B20: how long ``allot --help`` takes, and ``import allotment_recipes``.

The floor, measured in the same run, is a Python that does nothing. Where ALLOTMENT_PEER names a virtualenv with
slapos.core, its ``slapos --help`` is the peer.
"""

import os
import sys
from pathlib import Path

from benchmarks.measure import Result, alternately, command, main, median

HELP_SECONDS = 0.120
IMPORT_SECONDS = 0.060


def measure(quick: bool) -> Result:
    """Compare start-ups; the goal for the import is what it adds to a Python that does nothing."""
    runs = {
        "nothing": command([sys.executable, "-c", "pass"]),
        "help": command([sys.executable, "-m", "allotment", "--help"]),
        "import": command([sys.executable, "-c", "import allotment_recipes"]),
    }
    peer = Path(os.environ.get("ALLOTMENT_PEER", "/nonexistent")) / "bin" / "slapos"
    if peer.is_file():
        runs["peer"] = command([str(peer), "--help"])
    medians = {name: median(samples) for name, samples in alternately(runs, 10 if quick else 40).items()}
    added = medians["import"].wall - medians["nothing"].wall
    return Result(
        id="B20",
        what="allot --help",
        ours=round(medians["help"].wall, 4),
        peer=round(medians["peer"].wall, 4) if "peer" in medians else None,
        unit="s",
        goal="--help <= 120 ms; import allotment_recipes <= 60 ms",
        holds=medians["help"].wall <= HELP_SECONDS and added <= IMPORT_SECONDS,
        details={
            "cpu": round(medians["help"].cpu, 4),
            "import": round(added, 4),
            "floor": round(medians["nothing"].wall, 4),
        },
    )


if __name__ == "__main__":
    sys.exit(main(measure))
