# SPDX-License-Identifier: Apache-2.0
"""``allot farm cancel``: end a job that nobody needs any more."""

import time
from pathlib import Path

import click

from allotment.errors import AllotmentError
from allotment_testfarm.commands.database_options import JOB, database_options, farm_database


@click.command("cancel")
@click.argument("job", type=JOB)
@database_options
def command(job: int, folder: Path, database: str) -> None:
    """Cancel JOB: a waiting one ends at once, a running one at its test node's next heartbeat."""
    from allotment_testfarm.db import jobs

    with farm_database(folder, database) as farm, farm.write() as connection:
        cancelled = jobs.cancel(connection, job, time.time())
    if not cancelled:
        raise AllotmentError(f"job {job} is not waiting and not running", "Look at the results page for its number")
    click.echo(f"job {job} is cancelled")
