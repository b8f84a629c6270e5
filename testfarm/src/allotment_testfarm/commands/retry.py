# SPDX-License-Identifier: Apache-2.0
"""``allot farm retry``: have a job run again."""

import time
from pathlib import Path

import click

from allotment.errors import AllotmentError
from allotment_testfarm.commands.database_options import JOB, database_options, farm_database


@click.command("retry")
@click.argument("job", type=JOB)
@database_options
def command(job: int, folder: Path, database: str) -> None:
    """Run JOB again, whatever other jobs with the same inputs have shown; its attempts so far stay."""
    from allotment_testfarm.db import jobs
    from allotment_testfarm.hints import tell_engines

    with farm_database(folder, database) as farm, farm.write() as connection:
        retried = jobs.retry(connection, job, time.time())
        found = None if retried else jobs.get(connection, job)
    if not retried:
        fix = "Look at the results page for its number" if found is None else "Let it end, or cancel it"
        raise AllotmentError(f"there is no job {job}" if found is None else f"job {job} is {found.state}", fix)
    tell_engines(folder)
    click.echo(f"job {job} waits again")
