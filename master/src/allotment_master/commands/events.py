# SPDX-License-Identifier: Apache-2.0
"""``allot master events``: what happened."""

import json
from pathlib import Path

import click

from allotment.codec import encode
from allotment_master.cli import connect, json_option, master_options
from allotment_master.kit.pages import when


@click.command("events")
@click.option("--since", type=click.IntRange(0), default=0, help="Only those after this number.")
@click.option("--follow", is_flag=True, help="Go on as they come, until interrupted.")
@master_options
@json_option
def command(since: int, follow: bool, master: str | None, token_file: Path | None, as_json: bool) -> None:
    """Show what happened, oldest first; with --json one object a line."""
    with connect(master, token_file) as client:
        while found := client.events(since, 30.0 if follow else 0.0) or follow:
            for event in found if isinstance(found, list) else ():
                since = event.id
                data = json.dumps(encode(event.data, redacted=True))
                line = f"{event.id} {when(event.time)} {event.kind} {event.subject} {data}"
                click.echo(json.dumps(encode(event, redacted=True)) if as_json else line)
