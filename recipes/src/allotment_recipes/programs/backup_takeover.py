# SPDX-License-Identifier: Apache-2.0
"""Let a standby instance take over: from then on nothing is restored into it, and its queue runs nothing.

python -m allotment_recipes.programs.backup_takeover --import FOLDER --takeover FILE [--force]
"""

import argparse
import sys
import time
from pathlib import Path

from allotment.errors import AllotmentError
from allotment_recipes.resilience import status, takeover
from allotment_recipes.resilience.locks import locked
from allotment_recipes.resilience.program import LOCK, STATUS, finish


def main(arguments: list[str] | None = None) -> int:
    """Write the takeover file, once; a restore that is at work has to end before."""
    parser = argparse.ArgumentParser(prog="takeover", allow_abbrev=False)
    parser.add_argument("--import", dest="folder", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--takeover", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--force", action="store_true", help="also when the last restore did not come to its end")
    options = parser.parse_args(arguments)
    return finish(lambda: _take_over(options.folder, options.takeover, options.force))


def _take_over(folder: Path, file: Path, is_forced: bool) -> None:
    with locked(folder / LOCK):
        found = takeover.read(file)
        if found is None:
            restored = status.read(folder / STATUS)
            if restored.result != status.DONE and not is_forced:
                what = restored.result or "never begun"
                fix = "Push again; or add --force to go on with what is there"
                raise AllotmentError(f"the last restore is {what}: {restored.error}".rstrip(": "), fix)
            found = takeover.Takeover(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), restored.generation)
            takeover.write(file, found)
    sys.stdout.write(f"taken over at {found.moment} with the data of {found.generation or 'no whole restore'}\n")


if __name__ == "__main__":
    sys.exit(main())
