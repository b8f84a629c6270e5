# SPDX-License-Identifier: Apache-2.0
"""``allot node run``: the agent, until SIGTERM or SIGINT."""

import logging
import signal
import threading
from pathlib import Path

import click

from allotment.program import log_to_stderr
from allotment_node.commands.options import folder_option, locked_agent
from allotment_node.folder import NodeFolder

_log = logging.getLogger(__name__)


@click.command("run")
@folder_option
def command(folder: Path) -> None:
    """Run the agent of this machine until it is told to stop (SIGTERM or Ctrl-C)."""
    log_to_stderr()
    place = NodeFolder(folder)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with locked_agent(folder) as agent:
        place.ready.unlink(missing_ok=True)  # a killed agent has left it, and we are not ready yet
        agent.start()
        place.write_ready()
        _log.info("node is ready in %s", place.root)
        try:
            stop.wait()
        finally:
            place.ready.unlink(missing_ok=True)
    _log.info("node has stopped")
