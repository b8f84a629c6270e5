# SPDX-License-Identifier: Apache-2.0
"""Let a standby instance take over: from then on nothing is restored into it, and its queue runs nothing.

python -m allotment_recipes.programs.backup_takeover --partition FOLDER --import FOLDER --takeover FILE
    [--main NAME] [--since MOMENT] [--force]

The main instance is that with the name, since the moment: if that is later than what was restored last, another standby
instance has taken over, and nothing of its data is here.
"""

import argparse
import calendar
import sys
import time
from pathlib import Path

from allotment.errors import AllotmentError
from allotment_recipes.resilience import status, takeover
from allotment_recipes.resilience.generations import made_at
from allotment_recipes.resilience.locks import locked
from allotment_recipes.resilience.program import RESTORING, STATUS, finish


def main(arguments: list[str] | None = None) -> int:
    """Write the takeover file, once, and have the instance processed; a restore that is at work has to end before."""
    parser = argparse.ArgumentParser(prog="takeover", allow_abbrev=False)
    parser.add_argument("--partition", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--import", dest="folder", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--takeover", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--main", default="", help=argparse.SUPPRESS)
    parser.add_argument("--since", type=_seconds, default=0.0, help=argparse.SUPPRESS)
    parser.add_argument("--force", action="store_true", help="also with data that are not those of the last main one")
    options = parser.parse_args(arguments)
    return finish(lambda: _take_over(options))


def _seconds(moment: str) -> float:
    """Return seconds since the UTC epoch."""
    return float(calendar.timegm(time.strptime(moment, takeover.MOMENT)))


def _take_over(options: argparse.Namespace) -> None:
    with locked(options.folder / RESTORING):
        earlier = takeover.read(options.takeover)
        found = earlier or _begin(options)
        # From now on the data change. Who undoes the takeover has a standby instance that needs its restore again.
        status.spoil(options.folder / STATUS, "a takeover has changed what was restored")
    takeover.ask_for_processing(options.partition, found)
    data = found.generation or "no whole restore"
    if earlier is not None:  # all that has to follow is done again, in case that time was cut short
        what = f"this instance took over at {found.moment} with the data of {data}"
        raise AllotmentError(what, f"Nothing is to be done; to undo it, remove {options.takeover}")
    sys.stdout.write(f"taken over at {found.moment} with the data of {data}\n")


def _begin(options: argparse.Namespace) -> takeover.Takeover:
    restored = status.read(options.folder / STATUS)
    if not options.force:
        _check(restored, options.main, options.since)
    moment = time.strftime(takeover.MOMENT, time.gmtime())
    found = takeover.Takeover(moment, restored.generation, options.main)
    takeover.write(options.takeover, found)
    return found


def _check(restored: status.Status, main: str, since: float) -> None:
    """Raise unless the last restore has ended, with data of the instance that is the main one now."""
    go_on = "or add --force to go on with what is there"
    if restored.result != status.DONE:
        problem = f"the last restore is {restored.result or 'never begun'}: {restored.error}".rstrip(": ")
        raise AllotmentError(problem, f"Push again; {go_on}")
    made = made_at(restored.generation) if restored.generation else 0.0
    if made < since:
        problem = f"{main} has taken over already, and nothing that it exported since is restored here"
        raise AllotmentError(problem, f"If {main} is lost as well, wait for a push of its data; {go_on}")


if __name__ == "__main__":
    sys.exit(main())
