# SPDX-License-Identifier: Apache-2.0
"""``allot node run``: the agent, until SIGTERM or SIGINT."""

import logging
from pathlib import Path

import click

from allotment.program import StopSignals, log_to_stderr
from allotment_node.commands.options import folder_option, locked_agent
from allotment_node.folder import NodeFolder

_log = logging.getLogger(__name__)


@click.command("run")
@folder_option
def command(folder: Path) -> None:
    """Run the agent of this machine until it is told to stop (SIGTERM or Ctrl-C)."""
    log_to_stderr()
    place = NodeFolder(folder)
    stop = StopSignals()
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
