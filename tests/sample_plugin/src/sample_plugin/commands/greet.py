# SPDX-License-Identifier: Apache-2.0
"""``allot sample greet NAME``."""

import click

from allotment.errors import AllotmentError


@click.command("greet")
@click.argument("name")
def command(name: str) -> None:
    """Greet NAME."""
    if not name.strip():
        raise AllotmentError("the name is empty", "Say whom to greet")
    click.echo(f"Hello {name}!")
