# SPDX-License-Identifier: Apache-2.0
"""``allot farm cancel``: end a job that nobody needs any more."""

import time
from pathlib import Path

import click

from allotment.errors import AllotmentError


@click.command("cancel")
@click.argument("job", type=int)
@click.option("--folder", type=click.Path(path_type=Path, exists=True), required=True, help="The farm's folder.")
@click.option("--database", default="", help="Database URL; without it the file in the folder.")
def command(job: int, folder: Path, database: str) -> None:
    """Cancel JOB: a waiting one ends at once, a running one at its test node's next heartbeat."""
    from allotment_master.kit.database import Database
    from allotment_testfarm.db import jobs
    from allotment_testfarm.engine.settings import Settings

    farm = Database(database or Settings(folder.resolve(), repository="").database_url)
    try:
        with farm.write() as connection:
            cancelled = jobs.cancel(connection, job, time.time())
    finally:
        farm.close()
    if not cancelled:
        raise AllotmentError(f"job {job} is not waiting and not running", "Look at the results page for its number")
    click.echo(f"job {job} is cancelled")
