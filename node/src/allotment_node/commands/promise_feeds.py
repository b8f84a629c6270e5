# SPDX-License-Identifier: Apache-2.0
"""``allot promise feeds``: a list of nodes' feeds that feed readers import."""

from pathlib import Path
from urllib.parse import urlsplit

import click

from allotment import atomic
from allotment.errors import AllotmentError
from allotment_node.monitor.feeds import opml


@click.command("feeds")
@click.argument("feeds", metavar="NAME=URL...", nargs=-1, required=True)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write this file and print nothing.")
@click.option("--title", default="Nodes", show_default=True, help="Title of the list.")
def command(feeds: tuple[str, ...], output: Path | None, title: str) -> None:
    """Print a list of the feeds of nodes in OPML 2.0; URL is where a node's changes.rss is served."""
    data = opml(title, [_feed(text) for text in feeds])
    if output is None:
        click.echo(data.decode(), nl=False)
    else:
        atomic.write_bytes(output, data)


def _feed(text: str) -> tuple[str, str]:
    name, _, url = text.partition("=")
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_url = False
    if not name or not is_url:
        raise AllotmentError(f"'{text}' is no feed", "Write it like node-1=https://node-1.example/changes.rss")
    return name, url
