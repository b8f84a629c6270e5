# SPDX-License-Identifier: Apache-2.0
"""What the node's commands share: their ``--folder``, their logging, and the agent for one pass."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from allotment_node.agent import Agent
from allotment_node.engines import RealEngines
from allotment_node.folder import FolderLock, NodeFolder
from allotment_node.masters import connect


def folder_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--folder``."""
    kind = click.Path(path_type=Path, file_okay=False)
    return click.option("--folder", type=kind, required=True, help="Where the node keeps everything.")(function)


def log_to_stderr() -> None:
    """One line an event, on stderr."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr, force=True
    )
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for each long poll


@contextmanager
def locked_agent(folder: Path) -> Iterator[Agent]:
    """Give an agent that nobody else works beside, and stop it afterwards."""
    place = NodeFolder(folder)
    config = place.load_config()
    with FolderLock(place):
        with Agent(place, config, connect(config.masters, place.token), RealEngines(config, place.store)) as agent:
            yield agent
