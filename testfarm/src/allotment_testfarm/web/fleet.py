# SPDX-License-Identifier: Apache-2.0
"""What the page of test nodes says."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from allotment_testfarm.db import nodes
from allotment_testfarm.db.nodes import TestNode
from allotment_testfarm.web.look import NONE, Look

_SILENT = Look("!", "silent", "warn")
_BUSY = Look("●", "working", "busy")
_IDLE = Look("✓", "idle", "good")


@dataclass(frozen=True)
class NodeView:
    """A test node's row."""

    node: TestNode
    look: Look
    load: str


def read(connection: sa.Connection, now: float) -> dict[str, Any]:
    """Return what the template of the page shows."""
    found = nodes.all_nodes(connection, now)
    views = tuple(NodeView(node, node_look(node), NONE if node.load is None else f"{node.load:.2f}") for node in found)
    connected = sum(node.is_connected for node in found)
    working = sum(len(node.current) for node in found if node.is_connected)
    lede = f"{connected} of {len(found)} connected, {working} job{'' if working == 1 else 's'} running."
    return {"nodes": views, "lede": lede}


def node_look(node: TestNode) -> Look:
    """Return how a test node is shown."""
    if not node.is_connected:
        return _SILENT
    return _BUSY if node.current else _IDLE
