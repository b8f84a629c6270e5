# SPDX-License-Identifier: Apache-2.0
"""``allot farm node``: take part in a test farm."""

import signal
from pathlib import Path

import click

from allotment.errors import AllotmentError
from allotment.secret import Secret


@click.command("node")
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="Where the test node keeps everything.")
@click.option("--farm", "url", required=True, help="URL of the farm's wire, as farm.json says.")
@click.option("--token-file", type=click.Path(path_type=Path), required=True, help="File with the test nodes' token.")
@click.option("--name", required=True, help="What the farm calls this test node.")
@click.option("--slots", type=click.IntRange(1, 64), default=1, show_default=True, help="Jobs at a time.")
@click.option("--grace", type=float, default=5.0, show_default=True, help="Seconds that jobs get to end at a stop.")
def command(folder: Path, url: str, token_file: Path, name: str, slots: int, grace: float) -> None:
    """Take leases from a farm and run their jobs until stopped.

    SIGTERM and SIGINT stop it cleanly: jobs that do not end within the grace time are given back to the farm.
    """
    from allotment.program import log_to_stderr
    from allotment_testfarm.testnode.agent import TestNode
    from allotment_testfarm.testnode.wire_client import WireClient

    log_to_stderr()
    with WireClient(url, read_token(token_file)) as wire:
        node = TestNode(folder.absolute(), wire, name, slots, grace)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: node.stop())
        node.run()


def read_token(path: Path) -> Secret:
    """Return the token in a file."""
    try:
        token = path.read_text().strip()
    except OSError as error:
        raise AllotmentError(f"{path} can't be read: {error.strerror}", "Give the farm's node.token") from error
    if not token:
        raise AllotmentError(f"{path} is empty", "Give the farm's node.token")
    return Secret(token)
