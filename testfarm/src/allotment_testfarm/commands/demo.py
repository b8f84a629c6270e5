# SPDX-License-Identifier: Apache-2.0
"""``allot demo``: the whole path on one machine, from a commit of this repository to a URL that answers."""

import contextlib
import json
import sys
from pathlib import Path

import click

from allotment_testfarm.commands.local_programs import check_checkout, terminated_like_interrupted
from allotment_testfarm.demo import Demo, NotProvedError


@click.command("demo")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("var/demo"), help="Where everything is kept.")
@click.option("--repository", type=click.Path(path_type=Path), default=Path(), help="The git repository to prove.")
@click.option("--once", is_flag=True, help="Verify, shut down, print one JSON summary.")
def command(folder: Path, repository: Path, once: bool) -> None:
    """Run farm, two test nodes, master and production node here, and take a commit the whole way."""
    check_checkout(repository)
    demo = Demo(folder.resolve(), repository.resolve(), click.echo)
    with terminated_like_interrupted(), demo:
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
