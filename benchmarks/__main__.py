# SPDX-License-Identifier: Apache-2.0
"""Run every benchmark, each in a process of its own, and print the table."""

import argparse
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import benchmarks


def main() -> int:
    """Exit with 1 when a goal is missed or a benchmark fails; the others run all the same."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--json", action="store_true", help="one object a line instead of the table")
    parser.add_argument("--quick", action="store_true", help="shorter runs")
    options = parser.parse_args()
    words = [word for word, given in (("--json", options.json), ("--quick", options.quick)) if given]
    names = sorted(item.name for item in pkgutil.iter_modules(benchmarks.__path__) if re.fullmatch(r"b\d+", item.name))
    worst = 0
    for number, name in enumerate(names):
        command = [sys.executable, "-m", f"benchmarks.{name}", *words]
        done = subprocess.run(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True, check=False)
        lines = done.stdout.splitlines()
        keep = lines if number == 0 or options.json else lines[1:]  # the table's head only once
        print("\n".join(keep) or f"{name}: failed", flush=True)
        worst = max(worst, done.returncode)
    return min(worst, 1)


if __name__ == "__main__":
    sys.exit(main())
