# SPDX-License-Identifier: Apache-2.0
"""``allot node promise``: check every promise once."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from allotment.messages.instance import InstanceState
from allotment.program import log_to_stderr
from allotment_node.commands.options import folder_option
from allotment_node.documents import Documents
from allotment_node.engines import RealEngines
from allotment_node.folder import NodeFolder


@click.command("promise")
@folder_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(folder: Path, as_json: bool) -> None:
    """Check every promise of every started partition, once; exit with 1 when one is broken."""
    log_to_stderr()
    place = NodeFolder(folder)
    config = place.load_config()
    rows: list[dict[str, Any]] = []
    with place.lock:
        engines = RealEngines(config)
        try:
            for document in Documents(place.desired, config.partition_names).partitions():
                path = place.partition(document.partition)
                if document.state is InstanceState.STARTED and path.is_dir():
                    for item in engines.launch(path, "test", None):
                        row = {"partition": document.partition, "promise": item.name}
                        rows.append({**row, "status": str(item.status), "message": item.message})
        finally:
            engines.close()
    if as_json:
        click.echo(json.dumps({"promises": rows}))
    else:
        for row in rows:
            click.echo(f"{row['partition']} {row['promise']} {row['status']} {row['message']}".rstrip())
    if any(row["status"] != "passed" for row in rows):
        sys.exit(1)
