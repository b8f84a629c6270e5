# SPDX-License-Identifier: Apache-2.0
"""How commands on a farm's own machine find its database."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from allotment.errors import AllotmentError

if TYPE_CHECKING:
    from allotment_master.kit.database import Database

F = TypeVar("F", bound=Callable[..., Any])
JOB: Final = click.IntRange(1, 2**31 - 1)  # the numbers that a database has for jobs


def database_options(function: F) -> F:
    """Decorator: add ``--folder`` and ``--database``."""
    database = click.option("--database", default="", help="Database URL; without it the file in the folder.")
    folder = click.option(
        "--folder", type=click.Path(path_type=Path, exists=True), required=True, help="The farm's folder."
    )
    return folder(database(function))


@contextmanager
def farm_database(folder: Path, url: str) -> "Iterator[Database]":
    """Open the database of a farm that was started before; one that is not there is not made."""
    from allotment_master.kit.database import Database
    from allotment_testfarm.engine.settings import DATABASE, Settings

    if not url and not (folder / DATABASE).exists():
        raise AllotmentError(
            f"{folder} has no {DATABASE}", "Give a farm's folder, and --database if it was started with that"
        )
    database = Database(url or Settings(folder.resolve(), repository="").database_url)
    try:
        yield database
    finally:
        database.close()
