# SPDX-License-Identifier: Apache-2.0
"""``allot demo``: the whole path on one machine, from a commit of this repository to a URL that answers."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from allotment.errors import AllotmentError
from allotment_testfarm.demo import Demo


@click.command("demo")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("var/demo"), help="Where everything is kept.")
@click.option("--repository", type=click.Path(path_type=Path), default=Path(), help="The git repository to prove.")
@click.option("--once", is_flag=True, help="Verify, shut down, print one JSON summary.")
def command(folder: Path, repository: Path, once: bool) -> None:
    """Run farm, two test nodes, master and production node here, and take a commit the whole way."""
    if (repository / ".git").exists() is False:
        raise AllotmentError(
            f"{repository.resolve()} is not a git checkout", "Clone the repository with git; the farm tests commits"
        )
    demo = Demo(folder.resolve(), repository.resolve(), click.echo)
    with _terminated_like_interrupted(), demo:
        summary = demo.run()
        if not once:
            _invite(summary["urls"])
            demo.watch()
    if once:
        click.echo(json.dumps(summary))
        sys.stdout.flush()


def _invite(urls: dict[str, str]) -> None:
    click.echo("")
    click.echo(f"  results page  {urls['results']}")
    click.echo(f"  master        {urls['master']}")
    click.echo(f"  hello         {urls['hello']}")
    click.echo("\nCtrl-C stops everything.")


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Make SIGTERM and SIGHUP stop the demo as Ctrl-C does, so that nothing is left running."""

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
