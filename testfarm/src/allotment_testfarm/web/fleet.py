# SPDX-License-Identifier: Apache-2.0
"""What the page of test nodes says."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from allotment.terminal import NONE
from allotment_testfarm.db import nodes
from allotment_testfarm.db.nodes import TestNode
from allotment_testfarm.web.look import Look, size

_SILENT = Look("!", "silent", "warn")
_REFUSES = Look("!", "takes no job", "warn")
_BUSY = Look("●", "working", "busy")
_IDLE = Look("✓", "idle", "good")


@dataclass(frozen=True)
class Gauge:
    """A figure and, where there is something to hold it against, how much of that it is in percent."""

    text: str
    percent: float | None


@dataclass(frozen=True)
class NodeView:
    """A test node's row."""

    node: TestNode
    look: Look
    load: Gauge
    memory: Gauge
    disk: Gauge


def read(connection: sa.Connection, now: float) -> dict[str, Any]:
    """Return what the template of the page shows; bars are held against the largest figure of the fleet."""
    found = nodes.all_nodes(connection, now)
    views = tuple(
        NodeView(
            node,
            node_look(node),
            _gauge(NONE if node.load is None else f"{node.load:.2f}", node.load, [item.load for item in found]),
            _gauge(size(node.memory_free), node.memory_free, [item.memory_free for item in found]),
            _gauge(size(node.disk_free), node.disk_free, [item.disk_free for item in found]),
        )
        for node in found
    )
    connected = sum(node.is_connected for node in found)
    working = sum(len(node.current) for node in found if node.is_connected)
    slots = sum(node.slots for node in found if node.is_connected and not node.refuses)
    lede = (
        f"{connected} of {len(found)} connected, {working} job{'' if working == 1 else 's'} running in {slots} slots."
    )
    return {"nodes": views, "lede": lede}


def node_look(node: TestNode) -> Look:
    """Return how a test node is shown."""
    if not node.is_connected:
        return _SILENT
    if node.refuses:
        return _REFUSES
    return _BUSY if node.current else _IDLE


def _gauge(text: str, value: float | None, fleet: list[float | None] | list[int | None]) -> Gauge:
    largest = max((item for item in fleet if item), default=0)
    return Gauge(text, None if value is None or not largest else round(100 * value / largest, 1))
