# SPDX-License-Identifier: Apache-2.0
"""``python -m allotment_testfarm engine``: the engine as a program of its own."""

from pathlib import Path

import click

from allotment_testfarm.commands.project_options import project_options
from allotment_testfarm.commands.retention_options import rules_of


@click.command("engine")
@project_options
def command(
    folder: Path,
    repository: str,
    branch: str,
    project: str,
    release: tuple[str, ...],
    wire_port: int,
    poll: float,
    database: str,
    name: str,
    nightly: str,
    time_zone: str,
    master: str,
    master_token_file: Path | None,
    lease: float,
    job_timeout: float,
    grace: float,
    **keep: float,
) -> None:
    """Watch the repository and serve the test nodes until SIGTERM."""
    from allotment.program import log_to_stderr
    from allotment_testfarm.db.leases import LeaseTerms
    from allotment_testfarm.engine.main import run_engine
    from allotment_testfarm.engine.settings import Settings

    log_to_stderr()
    run_engine(
        Settings(
            folder=folder.resolve(),
            repository=repository,
            branch=branch,
            project=project,
            releases=release,
            port=wire_port,
            poll=poll,
            database=database,
            name=name,
            nightly=nightly,
            time_zone=time_zone,
            master=master,
            master_token_file=master_token_file,
            job_timeout=job_timeout,
            terms=LeaseTerms(seconds=lease, grace=grace),
            keep=rules_of(keep),
        )
    )
