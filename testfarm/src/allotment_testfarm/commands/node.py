# SPDX-License-Identifier: Apache-2.0
"""``allot farm node``: take part in a test farm."""

import threading
from pathlib import Path

import click

from allotment.errors import AllotmentError
from allotment.secret import read_token


def read_size(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """Return the bytes that an option's text means; None when it is not given."""
    from allotment_testfarm.testnode import sizes

    try:
        return None if text is None else sizes.parse(text)
    except AllotmentError as error:
        raise click.BadParameter(str(error)) from error


@click.command("node")
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="Where the test node keeps everything.")
@click.option(
    "--farm",
    "urls",
    required=True,
    multiple=True,
    help="URL of the farm's wire, as farm.json says; once for each engine, to have others when one stays away.",
)
@click.option("--token-file", type=click.Path(path_type=Path), required=True, help="File with the test nodes' token.")
@click.option("--name", required=True, help="What the farm calls this test node.")
@click.option("--slots", type=click.IntRange(1, 64), default=1, show_default=True, help="Jobs at a time.")
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Seconds that jobs get to end at a stop.",
)
@click.option(
    "--disk-wanted", default="2G", show_default=True, callback=read_size, help="Take no job with less disk space free."
)
@click.option(
    "--memory-wanted", default="512M", show_default=True, callback=read_size, help="Take no job with less memory free."
)
@click.option(
    "--job-memory",
    callback=read_size,
    help="Memory that a job may use.  [default: nine tenths of the machine's, shared by the slots]",
)
@click.option(
    "--keep-parts",
    type=click.FloatRange(min=0),
    default=14.0,
    show_default=True,
    metavar="DAYS",
    help="Keep a built part that no job asks for so long.",
)
def command(
    folder: Path,
    urls: tuple[str, ...],
    token_file: Path,
    name: str,
    slots: int,
    grace: float,
    disk_wanted: int,
    memory_wanted: int,
    job_memory: int | None,
    keep_parts: float,
) -> None:
    """Take leases from a farm and run their jobs until stopped.

    SIGTERM and SIGINT stop it: it takes no more jobs, and those that run get the grace time to end. What has not ended
    by then, or when the signal comes a second time, is given back to the farm, which has another test node do it.
    """
    from allotment.program import StopSignals, log_to_stderr
    from allotment_testfarm.testnode.agent import TestNode
    from allotment_testfarm.testnode.host import Wanted
    from allotment_testfarm.testnode.sharing import Sharing
    from allotment_testfarm.testnode.wire_client import WireClient

    log_to_stderr()
    token = read_token(token_file, "Give the farm's node.token")
    with WireClient(urls[0], token, others=urls[1:]) as wire:
        node = TestNode(
            folder.absolute(), wire, name, slots, grace, Wanted(disk_wanted, memory_wanted), job_memory,
            keep_parts=keep_parts, sharing=Sharing(folder.absolute(), wire, token_file.absolute()),
        )  # fmt: skip
        signals = StopSignals()

        def stop() -> None:  # on a thread: a handler interrupts the main one, which may hold a lock that this takes
            while True:
                signals.wait()
                node.stop()

        threading.Thread(target=stop, name="stop", daemon=True).start()
        node.run()
