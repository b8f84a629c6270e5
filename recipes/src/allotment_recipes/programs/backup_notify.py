# SPDX-License-Identifier: Apache-2.0
"""Notify a queue, or tell whether one of its notifications waits for too long.

python -m allotment_recipes.programs.backup_notify --folder FOLDER --takeover FILE --known NAME... NAME
python -m allotment_recipes.programs.backup_notify --folder FOLDER --takeover FILE --max-age SECONDS
"""

import argparse
import sys
import time
from pathlib import Path

from allotment.atomic import write_bytes
from allotment.errors import AllotmentError, nearest
from allotment_recipes.resilience.program import RUNNING, WAITING, finish
from allotment_recipes.resilience.takeover import is_taken_over, refuse_after


def main(arguments: list[str] | None = None) -> int:
    """Note the notification on the disk, and return: the queue runs the callback."""
    parser = argparse.ArgumentParser(prog="backup_notify", allow_abbrev=False)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--takeover", type=Path, required=True)
    parser.add_argument("--known", action="append", default=[])
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--max-age", type=float)
    kind.add_argument("name", nargs="?")
    options = parser.parse_args(arguments)
    if options.max_age is not None:
        return finish(lambda: _look(options.folder, options.takeover, options.max_age))
    return finish(lambda: _notify(options.folder, options.takeover, options.known, options.name))


def _notify(folder: Path, takeover: Path, known: list[str], name: str) -> None:
    refuse_after(takeover)
    if name not in known:
        raise AllotmentError(f"there is no callback '{name}'", nearest(name, known))
    waiting = folder / WAITING
    waiting.mkdir(parents=True, exist_ok=True)
    write_bytes(waiting / name, f"{time.time_ns()}\n".encode(), 0o600)


def _look(folder: Path, takeover: Path, max_age: float) -> None:
    if is_taken_over(takeover):
        return
    for part in (RUNNING, WAITING):
        for path in (folder / part).glob("*"):
            try:
                age = time.time() - path.stat().st_mtime
            except FileNotFoundError:  # the queue has taken it meanwhile, or is done with it
                continue
            if age > max_age:
                raise AllotmentError(f"{path.name} waits for {age / 3600:.1f} hours", "See the log of the queue")


if __name__ == "__main__":
    sys.exit(main())
