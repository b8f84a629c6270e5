# SPDX-License-Identifier: Apache-2.0
"""Tell what a status file says; the exit code is 1 when the last attempt failed or the copy is too old.

python -m allotment_recipes.programs.backup_status --file FILE --max-age SECONDS --since FILE

Until the second file, which the recipe writes, is as old as that there need be no copy.
"""

import argparse
import sys
import time
from pathlib import Path

from allotment.errors import AllotmentError
from allotment_recipes.resilience import status
from allotment_recipes.resilience.program import finish


def main(arguments: list[str] | None = None) -> int:
    """Print one line, for a promise."""
    parser = argparse.ArgumentParser(prog="backup_status", allow_abbrev=False)
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--max-age", type=float, required=True)
    parser.add_argument("--since", type=Path, required=True)
    options = parser.parse_args(arguments)
    return finish(lambda: _tell(options.file, options.max_age, options.since))


def _tell(file: Path, max_age: float, since: Path) -> None:
    found = status.read(file)
    problem = found.problem(time.time(), max_age, since.stat().st_mtime)
    if problem:
        raise AllotmentError(problem, f"See {file}")
    what = f"{found.result or 'not begun'}: {found.generation or 'no copy yet'}"
    sys.stdout.write(f"{what}, {found.files} files, {found.bytes} bytes\n")


if __name__ == "__main__":
    sys.exit(main())
