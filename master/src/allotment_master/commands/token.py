# SPDX-License-Identifier: Apache-2.0
"""``allot master token``: a new token."""

from pathlib import Path

import click

from allotment import atomic
from allotment_master.cli import connect, master_options


@click.command("token")
@click.argument("scope")
@click.option("--output", type=click.Path(path_type=Path), help="Write it there, for its owner only.")
@master_options
def command(scope: str, output: Path | None, master: str | None, token_file: Path | None) -> None:
    """Make a token of SCOPE: admin, user, farm, enrol or node:NAME. It is shown this once."""
    with connect(master, token_file) as client:
        token = client.create_token(scope)
    if output is None:
        click.echo(token.reveal())
    else:
        atomic.write_bytes(output, f"{token.reveal()}\n".encode(), 0o600)
        click.echo(f"wrote {output}")
