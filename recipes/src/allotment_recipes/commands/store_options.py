# SPDX-License-Identifier: Apache-2.0
"""What the commands on stores have in common: which stores, and how sizes are written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from allotment_recipes.store import padded_root

store_option = click.option(
    "--store",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("var", "store"),
    show_default=True,
    help="Of parts that releases share.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def system_store_option(text: str) -> Callable[[Any], Any]:
    """Return the option that names the stores below the user's."""
    return click.option("--system-store", "systems", type=click.Path(path_type=Path), multiple=True, help=text)


def root_of(folder: Path) -> Path:
    """Return the root of the store in a folder."""
    return padded_root(folder.absolute())


def say(line: str) -> None:
    """Tell how far a command is, apart from what it answers."""
    click.echo(line, err=True)


def size_text(size: int) -> str:
    """Return bytes as people read them: ``1.4 GB``, ``32.0 MB``, ``12.3 kB``, ``342 B``."""
    for unit, limit in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= limit:
            return f"{size / limit:.1f} {unit}"
    return f"{size} B"
