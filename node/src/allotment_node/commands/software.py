# SPDX-License-Identifier: Apache-2.0
"""``allot node software``: install what is supplied, and remove what is not any more, once."""

import json
import sys
from pathlib import Path

import click

from allotment.codec import encode
from allotment.messages.desired_state import SoftwareStatus
from allotment.program import log_to_stderr
from allotment_node.commands.options import folder_option, locked_agent


@click.command("software")
@folder_option
@click.option("--timeout", default=7200.0, show_default=True, help="Seconds that all of it may take.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(folder: Path, timeout: float, as_json: bool) -> None:
    """Install what is supplied to this node, once; exit with 1 when something could not be."""
    log_to_stderr()
    with locked_agent(folder) as agent:
        manifests = {item.manifest for item in agent.documents.supplies()}
        ended = agent.run_once(("software",), timeout)
        manifests |= {item.manifest for item in agent.documents.supplies()}
        found = [agent.observations.software(manifest) for manifest in sorted(manifests)]
    software = [item for item in found if item is not None]
    if as_json:
        click.echo(json.dumps({"software": encode(software, redacted=True)}))
    else:
        for item in software:
            click.echo(f"{item.manifest[:12]} {item.status} {item.error}".rstrip())
    if not ended or any(item.status is SoftwareStatus.FAILED for item in software):
        sys.exit(1)
