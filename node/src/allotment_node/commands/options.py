# SPDX-License-Identifier: Apache-2.0
"""What the node's commands share: their ``--folder`` and the agent for one pass."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from allotment_node.agent import Agent
from allotment_node.engines import RealEngines
from allotment_node.folder import NodeFolder
from allotment_node.masters import connect


def folder_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--folder``."""
    kind = click.Path(path_type=Path, file_okay=False)
    return click.option("--folder", type=kind, required=True, help="Where the node keeps everything.")(function)


def tell_without_agent(folder: NodeFolder) -> None:
    """Say on stderr that what is shown is of the past, when no agent keeps it up to date."""
    if folder.lock.holder() is None:
        click.echo("no agent runs here: this is how things were when one did; 'allot node run' starts it", err=True)


@contextmanager
def locked_agent(folder: Path) -> Iterator[Agent]:
    """Give an agent that nobody else works beside, and stop it afterwards."""
    place = NodeFolder(folder)
    config = place.load_config()
    with place.lock:
        engines = RealEngines(config, place.store, place.root)
        with Agent(place, config, connect(config.masters, place.token), engines) as agent:
            yield agent
