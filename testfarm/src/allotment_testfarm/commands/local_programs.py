# SPDX-License-Identifier: Apache-2.0
"""What the commands share that run a whole farm on this machine."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from allotment.errors import AllotmentError

sources_option = click.option(
    "--sources",
    type=click.Path(path_type=Path),
    default=Path("var/sources"),
    show_default=True,
    help="Source cache; it is kept.",
)


def check_checkout(repository: Path) -> None:
    """Raise when a folder is no git checkout."""
    if not (repository / ".git").exists():
        raise AllotmentError(
            f"{repository.resolve()} is not a git checkout", "Clone the repository with git; the farm tests commits"
        )


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Make SIGTERM and SIGHUP stop the command as Ctrl-C does, so that nothing is left running."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
        sys.exit(130)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
