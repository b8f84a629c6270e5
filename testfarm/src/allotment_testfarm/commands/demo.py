# SPDX-License-Identifier: Apache-2.0
"""``allot demo``: the whole path on one machine, from a commit of this repository to a URL that answers."""

import contextlib
import json
import sys
from pathlib import Path

import click

from allotment_testfarm.commands.local_programs import check_checkout, sources_option, terminated_like_interrupted
from allotment_testfarm.demo import INSTANCES, Demo, NotProvedError
from allotment_testfarm.local_farm import Places


@click.command("demo")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("var/demo"),
    show_default=True,
    help="Where everything is kept; emptied first.",
)
@click.option("--repository", type=click.Path(path_type=Path), default=Path(), help="The git repository to prove.")
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    default=Path("var/store"),
    show_default=True,
    help="Store of built parts; it is kept.",
)
@sources_option
@click.option(
    "--only",
    type=click.Choice([instance.name for instance in INSTANCES]),
    multiple=True,
    help="Prove and deploy this one alone; may be given several times.",
)
@click.option("--once", is_flag=True, help="Verify, shut down, print one JSON summary.")
def command(folder: Path, repository: Path, store: Path, sources: Path, only: tuple[str, ...], once: bool) -> None:
    """Run farm, two test nodes, master and production node here, and take a commit the whole way."""
    check_checkout(repository)
    places = Places(folder.resolve(), repository.resolve(), store.resolve(), sources.resolve())
    instances = tuple(instance for instance in INSTANCES if not only or instance.name in only)
    demo = Demo(places, click.echo, instances)
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
    for name, url in urls.items():
        click.echo(f"  {name:<12}  {url}")
    click.echo("\nCtrl-C stops everything.")


def _stay(demo: Demo) -> None:
    """Keep everything running until Ctrl-C, which is how a demo is meant to end."""
    with contextlib.suppress(KeyboardInterrupt):
        demo.watch()
