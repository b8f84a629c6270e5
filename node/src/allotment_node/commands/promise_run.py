# SPDX-License-Identifier: Apache-2.0
"""``allot promise run``: make promises now, whatever their periods say; works beside a running agent."""

import json
import sys
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import click

from allotment.codec import encode
from allotment.program import log_to_stderr
from allotment_node import reruns
from allotment_node.commands.options import folder_option
from allotment_node.folder import NodeFolder
from allotment_node.survey import Survey


@click.command("run")
@folder_option
@click.argument("patterns", metavar="[PROMISE]...", nargs=-1)
@click.option(
    "--phase",
    type=click.Choice(["test", "anomaly"]),
    default="test",
    show_default=True,
    help="test: judge each measurement by itself. anomaly: judge it with those before it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(folder: Path, patterns: tuple[str, ...], phase: Literal["test", "anomaly"], as_json: bool) -> None:
    """Run promises of started partitions once; exit with 1 when one is broken.

    A PROMISE is a name, partition/name or instance/name, with * and ?; without one all are run. An agent that runs
    judges the same promises again within seconds, so that a repaired instance is green at once.
    """
    from allotment_promises.launcher import Launcher

    log_to_stderr()
    node = NodeFolder(folder)
    listed = [item for item in Survey(node).promises(patterns) if item.promise is not None]
    rows: list[dict[str, Any]] = []
    with Launcher() as launcher:
        for path, items in groupby(listed, key=lambda item: item.path):
            names = [item.name for item in items]
            for result in launcher.run(path, phase, names):
                rows.append({"partition": path.name, "promise": result.name, **encode(result)})
                if not as_json:
                    click.echo(f"{path.name}/{result.name} {result.status} {result.message}".rstrip())
            if node.lock.holder() is not None:
                reruns.ask(node.reruns, path.name, names)
    if as_json:
        click.echo(json.dumps({"promises": rows}))
    if any(row["status"] != "passed" for row in rows):
        sys.exit(1)
