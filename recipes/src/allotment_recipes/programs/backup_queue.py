# SPDX-License-Identifier: Apache-2.0
"""Run callbacks one at a time, each once for all notifications that came before it began.

    python -m allotment_recipes.programs.backup_queue --folder FOLDER --takeover FILE --timeout SECONDS --retry SECONDS
        --callback NAME TEXT...

A notification is a file in ``<folder>/waiting``. It goes to ``running`` while its callback runs, and away when that has
succeeded; what fails or is cut is run again.
"""

import argparse
import signal
import sys
import time
from pathlib import Path
from typing import Final

from allotment.errors import AllotmentError
from allotment_recipes.resilience.commands import run_all
from allotment_recipes.resilience.locks import locked
from allotment_recipes.resilience.program import LOCK, RUNNING, WAITING, finish
from allotment_recipes.resilience.takeover import is_taken_over

_INTERVAL: Final = 0.2  # seconds between two looks at the folder
_LONGEST: Final = 3600.0  # seconds until a callback that fails is run again


class Queue:
    """The callbacks, and when those that failed are due again."""

    def __init__(self, folder: Path, callbacks: dict[str, str], timeout: float, retry: float) -> None:
        self._waiting, self._running = folder / WAITING, folder / RUNNING
        self._callbacks = callbacks
        self._timeout, self._retry = timeout, retry  # seconds
        self._failures: dict[str, int] = {}  # name -> in a row
        self._due: dict[str, float] = {}  # name -> monotonic seconds
        for part in (self._waiting, self._running):
            part.mkdir(parents=True, exist_ok=True)

    def next(self, now: float) -> str:
        """Return the callback that has waited longest and is due, or nothing."""
        found = [path for part in (self._running, self._waiting) for path in part.iterdir()]
        due = [path for path in found if path.name in self._callbacks and self._due.get(path.name, now) <= now]
        return min(due, key=lambda path: path.stat().st_mtime_ns).name if due else ""

    def run(self, name: str) -> None:
        """Run a callback; a notification that comes meanwhile makes it run once more."""
        waiting, running = self._waiting / name, self._running / name
        if waiting.exists():
            waiting.replace(running)
        try:
            run_all([self._callbacks[name]], running.parent.parent, self._timeout, {})
        except AllotmentError as error:
            count = self._failures[name] = self._failures.get(name, 0) + 1
            wait = min(_LONGEST, self._retry * 2 ** min(count - 1, 30))
            self._due[name] = time.monotonic() + wait
            sys.stderr.write(f"{name}: {error} It is run again in {wait:g} seconds.\n")
            return
        self._failures.pop(name, None)
        self._due.pop(name, None)
        running.unlink()
        sys.stderr.write(f"{name}: done\n")


def main(arguments: list[str] | None = None) -> int:
    """Work until SIGTERM, which ends the callback that runs."""
    parser = argparse.ArgumentParser(prog="backup_queue", allow_abbrev=False)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--takeover", type=Path, required=True)
    parser.add_argument("--timeout", type=float, required=True)
    parser.add_argument("--retry", type=float, required=True)
    parser.add_argument("--callback", action="append", nargs=2, required=True, metavar=("NAME", "TEXT"))
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    return finish(lambda: _work(options))


def _work(options: argparse.Namespace) -> None:
    with locked(options.folder / LOCK, is_inherited=True):
        queue = Queue(options.folder, dict(options.callback), options.timeout, options.retry)
        while not is_taken_over(options.takeover):
            name = queue.next(time.monotonic())
            if name:
                queue.run(name)
            else:
                time.sleep(_INTERVAL)
        sys.stderr.write("this instance has taken over: no callback runs any more\n")
        while True:  # one that ended would be started again
            signal.pause()


if __name__ == "__main__":
    sys.exit(main())
