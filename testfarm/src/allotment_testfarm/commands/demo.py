# SPDX-License-Identifier: Apache-2.0
"""``allot demo``: the whole path on one machine, from a commit of this repository to a URL that answers."""

import contextlib
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from allotment.errors import AllotmentError
from allotment_testfarm.demo import Demo, NotProvedError


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
        try:
            summary = demo.run()
        except NotProvedError as error:
            if once:
                raise
            click.echo(f"{error} The results page stays up: {demo.farm}\n\nCtrl-C stops everything.")
            _stay(demo)
            sys.exit(1)
        if not once:
            _invite(summary["urls"])
            _stay(demo)
    if once:
        click.echo(json.dumps(summary))
        sys.stdout.flush()


def _invite(urls: dict[str, str]) -> None:
    click.echo("")
    click.echo(f"  results page  {urls['results']}")
    click.echo(f"  master        {urls['master']}")
    click.echo(f"  hello         {urls['hello']}")
    click.echo("\nCtrl-C stops everything.")


def _stay(demo: Demo) -> None:
    """Keep everything running until Ctrl-C, which is how a demo is meant to end."""
    with contextlib.suppress(KeyboardInterrupt):
        demo.watch()


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
