# SPDX-License-Identifier: Apache-2.0
"""``allot node instance``: process every partition once."""

import json
import sys
from pathlib import Path

import click

from allotment.codec import encode
from allotment.messages.desired_state import InstanceStatus
from allotment.program import log_to_stderr
from allotment_node.commands.options import folder_option, locked_agent


@click.command("instance")
@folder_option
@click.option("--timeout", default=7200.0, show_default=True, help="Seconds that all of it may take.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(folder: Path, timeout: float, as_json: bool) -> None:
    """Process every partition that needs it, once; exit with 1 when one failed."""
    log_to_stderr()
    with locked_agent(folder) as agent:
        ended = agent.run_once(("software", "partition"), timeout)
        names = [item.partition for item in agent.documents.partitions()]
        found = [item for item in map(agent.observations.instance, sorted(names)) if item is not None]
    if as_json:
        click.echo(json.dumps({"instances": encode(found, redacted=True)}))
    else:
        for item in found:
            click.echo(f"{item.partition} {item.instance} {item.status} {item.error}".rstrip())
    if not ended or any(item.status is InstanceStatus.FAILED for item in found):
        sys.exit(1)
