# SPDX-License-Identifier: Apache-2.0
"""The options that ``allot farm run`` passes on to the engine: said once, for both."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from allotment_testfarm.commands.retention_options import retention_options

F = TypeVar("F", bound=Callable[..., Any])
_OPTIONS = (
    click.option("--folder", type=click.Path(path_type=Path), required=True, help="Where the farm keeps everything."),
    click.option("--repository", required=True, help="Path or URL of the git repository to test."),
    click.option("--branch", default="", help="Branch to test; without it the repository's HEAD."),
    click.option("--project", default="main", show_default=True, help="What the repository is called in the farm."),
    click.option("--release", multiple=True, help="Test this release alone; may be said for several."),
    click.option("--wire-port", type=click.IntRange(0, 65535), default=0, help="Port for test nodes; 0 takes one."),
    click.option("--poll", type=click.FloatRange(0.05), default=5.0, show_default=True, help="Seconds between looks."),
    click.option("--database", default="", help="Database URL; without it a file in the folder."),
    click.option("--name", default="", help="Of this engine, where several share the folder and PostgreSQL."),
    click.option("--nightly", default="", help="Cron line, like '0 2 * * *': build from scratch then."),
    click.option("--time-zone", default="UTC", show_default=True, help="Time zone of --nightly, like Europe/Paris."),
    click.option("--master", default="", help="URL of the master that green releases are offered to."),
    click.option(
        "--master-token-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="File with the token for the master.",
    ),
    click.option(
        "--lease",
        type=click.FloatRange(0.1),
        default=20.0,
        show_default=True,
        help="Seconds of silence that end a lease.",
    ),
    click.option(
        "--job-timeout", type=click.FloatRange(0.1), default=3600.0, show_default=True, help="Seconds for a job."
    ),
    click.option(
        "--grace",
        type=click.FloatRange(0.1),
        default=60.0,
        show_default=True,
        help="Seconds beyond --job-timeout until the engine itself ends a job.",
    ),
)


def project_options(function: F) -> F:
    """Decorator: add all of them."""
    function = retention_options(function)
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
