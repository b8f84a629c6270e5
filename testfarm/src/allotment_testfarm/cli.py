# SPDX-License-Identifier: Apache-2.0
"""``python -m allotment_testfarm``: the farm's programs; ``allot farm run`` starts the engine and the web tier so."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence

import click

from allotment.cli import run
from allotment.plugins import load

PROGRAMS = {
    "run": "allotment_testfarm.commands.run:command",
    "engine": "allotment_testfarm.commands.engine:command",
    "web": "allotment_testfarm.web.main:command",
    "node": "allotment_testfarm.commands.node:command",
    "push": "allotment_testfarm.commands.push:command",
}
_GRACE = 10.0  # seconds between SIGTERM and SIGKILL when the parent is gone
_log = logging.getLogger(__name__)


class Programs(click.Group):
    """The programs, each imported when it is called."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted(PROGRAMS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in PROGRAMS:
            return None
        command: click.Command = load(PROGRAMS[name])
        return command


@click.group(cls=Programs)
@click.option("--lifeline", is_flag=True, help="End when standard input is closed: the parent is gone.")
def programs(lifeline: bool) -> None:
    """The test farm's programs."""
    if lifeline:
        threading.Thread(target=_watch_parent, name="lifeline", daemon=True).start()


def _watch_parent() -> None:
    """Read standard input, to which the parent writes nothing, until the kernel closes it with the parent's end."""
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a program and return its exit code: 0 stopped, 1 an error that is said, 2 wrong usage."""
    return run(programs, "python -m allotment_testfarm", arguments)


if __name__ == "__main__":
    sys.exit(main())
