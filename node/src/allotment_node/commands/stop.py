# SPDX-License-Identifier: Apache-2.0
"""``allot node stop``: the agent ends, and the services that would outlive it."""

import os
import signal
import time
from pathlib import Path
from typing import Final

import click

from allotment.errors import AllotmentError
from allotment.program import log_to_stderr
from allotment_node.agent import make_supervisor
from allotment_node.commands.options import folder_option
from allotment_node.folder import NodeFolder

_PAUSE: Final = 0.05  # seconds between two looks at the agent


@click.command("stop")
@folder_option
@click.option(
    "--timeout", type=click.FloatRange(0), default=120.0, show_default=True, help="Seconds that the agent may take."
)
def command(folder: Path, timeout: float) -> None:
    """End the agent, if one runs, and all services. All data stays; the agent, run again, starts the services again."""
    log_to_stderr()
    place = NodeFolder(folder)
    config = place.load_config()
    ended = _end_agent(place, timeout)
    click.echo(f"{config.name}: " + (f"the agent, process {ended}, has ended" if ended else "no agent was running"))
    with place.lock:
        place.ready.unlink(missing_ok=True)  # a killed agent has left it
        supervisor = make_supervisor(place, config)
        services = sorted(f"{item.partition}.{item.name}" for item in supervisor.states() if item.pid)
        supervisor.end()
    click.echo(f"{config.name}: " + (f"ended {', '.join(services)}" if services else "no service was running any more"))


def _end_agent(place: NodeFolder, timeout: float) -> int | None:
    """Tell the process that works in the folder to end, wait for it, and return its pid; None when there was none."""
    pid = place.lock.holder()
    if pid is None:
        return None
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while place.lock.holder() == pid:
        if time.monotonic() > deadline:
            raise AllotmentError(
                f"the agent, process {pid}, has not ended within {timeout:g} s",
                f"Give it longer with --timeout, or end it with 'kill -9 {pid}' and run this again",
            )
        time.sleep(_PAUSE)
    return pid
