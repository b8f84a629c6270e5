# SPDX-License-Identifier: Apache-2.0
"""``allot master token``: a new token."""

import os
from pathlib import Path

import click

from allotment import atomic
from allotment.errors import AllotmentError
from allotment_master.cli import connect, master_options


@click.command("token")
@click.argument("scope")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it there, for its owner only.")
@master_options
def command(scope: str, output: Path | None, master: str | None, token_file: Path | None) -> None:
    """Make a token of SCOPE: admin, user, farm, enrol or node:NAME. It is shown this once."""
    if output is not None:
        _check_place(output)  # before there is a token that nobody would ever see
    with connect(master, token_file) as client:
        token = client.create_token(scope)
    if output is None:
        click.echo(token.reveal())
    else:
        atomic.write_bytes(output, f"{token.reveal()}\n".encode(), 0o600)
        click.echo(f"wrote {output}")


def _check_place(output: Path) -> None:
    if not os.access(output.parent, os.W_OK):
        raise AllotmentError(f"--output {output} can't be written", f"Make {output.parent} a folder that you may write")
