# SPDX-License-Identifier: Apache-2.0
"""``allot nightly``: everything of the newest commit, built from nothing and tested by a farm on this machine."""

import contextlib
import sys
from pathlib import Path

import click

from allotment_testfarm.commands.local_programs import check_checkout, sources_option, terminated_like_interrupted
from allotment_testfarm.local_farm import Places
from allotment_testfarm.nightly import Nightly, table


@click.command("nightly")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("var/nightly"),
    show_default=True,
    help="Where everything is kept; emptied first.",
)
@click.option("--repository", type=click.Path(path_type=Path), default=Path(), help="The git repository to build.")
@sources_option
@click.option("--stay", is_flag=True, help="Then go on testing what is committed, until Ctrl-C.")
def command(folder: Path, repository: Path, sources: Path, stay: bool) -> None:
    """Build and test every release and build every component, from an empty store; write summary.json.

    Exits with 1 unless all is green.
    """
    check_checkout(repository)
    folder = folder.resolve()
    places = Places(folder, repository.resolve(), folder / "store", sources.resolve())
    nightly = Nightly(places, click.echo)
    with terminated_like_interrupted(), nightly:
        summary = nightly.run(stays=stay)
        told = f"\n{table(summary)}\n\n{nightly.folder / 'summary.json'}"
        if stay:
            click.echo(f"{told}\n\nThe farm goes on with what is committed: {nightly.farm}\nCtrl-C stops everything.")
            with contextlib.suppress(KeyboardInterrupt):
                nightly.watch()
    if not stay:
        click.echo(told)
    sys.exit(0 if summary["green"] else 1)
