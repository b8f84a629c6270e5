# SPDX-License-Identifier: Apache-2.0
"""``allot node status``: what is on this machine, from its folder alone; works beside a running agent."""

import json
from pathlib import Path
from typing import Any

import click

from allotment.codec import encode
from allotment.messages.desired_state import DesiredState, ObservedInstance
from allotment_node.agent import make_supervisor
from allotment_node.commands.options import folder_option
from allotment_node.documents import Documents
from allotment_node.folder import NodeFolder
from allotment_node.observations import Observations
from allotment_node.supervisor import ServiceState


@click.command("status")
@folder_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(folder: Path, as_json: bool) -> None:
    """Show the agent, the releases, and each partition with its services and promises."""
    listing = describe(NodeFolder(folder))
    if as_json:
        click.echo(json.dumps(listing))
        return
    agent = f"agent runs as process {listing['agent']}" if listing["agent"] else "agent does not run"
    click.echo(f"{listing['name']}: {agent}")
    word = "is" if listing["agent"] else "was"  # what was seen last, and nobody has looked since
    for item in listing["software"]:
        click.echo(f"release {item['manifest'][:12]} {item['status']} {item['error']}".rstrip())
    for part in listing["partitions"]:
        state = f"wanted {part['state']}, {word} {part['status']} {part['error']}"
        click.echo(f"{part['partition']} {part['name']} {state}".rstrip())
        for service in part["services"]:
            click.echo(f"  service {service['name']} {service['status']} {service['detail']}")
        for promise in part["promises"]:
            click.echo(f"  promise {promise['name']} {promise['status']} {promise['message']}")


def describe(folder: NodeFolder) -> dict[str, Any]:
    """Return all of it as JSON data, redacted."""
    config = folder.load_config()
    documents = Documents(folder.desired, config.partition_names)
    observations = Observations(folder.observed)
    states = make_supervisor(folder, config).states()
    software = [observations.software(item.manifest) for item in documents.supplies()]
    return {
        "name": config.name,
        "agent": _agent(folder),
        "software": [encode(item, redacted=True) for item in software if item is not None],
        "partitions": [
            _partition(item, observations.instance(item.partition), states) for item in documents.partitions()
        ],
    }


def _partition(document: DesiredState, seen: ObservedInstance | None, states: list[ServiceState]) -> dict[str, Any]:
    observed = seen if seen is not None and seen.instance == document.instance else None
    mine = [item for item in states if item.partition == document.partition]
    return {
        "partition": document.partition,
        "instance": document.instance,
        "name": document.name,
        "state": document.state,
        "generation": document.generation,
        "status": observed.status if observed else "requested",
        "error": observed.error if observed else "",
        "processed": observed.generation if observed else None,
        "published": encode(observed.published, redacted=True) if observed else None,
        "promises": encode(observed.promises, redacted=True) if observed else [],
        "services": [
            {"name": item.name, "status": item.status, "pid": item.pid, "detail": item.detail} for item in mine
        ],
    }


def _agent(folder: NodeFolder) -> int | None:
    """Return the pid of the agent that runs; a file that a killed one has left counts for nothing."""
    try:
        pid = int(json.loads(folder.ready.read_bytes())["pid"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return pid if Path(f"/proc/{pid}").exists() else None
