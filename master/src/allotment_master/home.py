# SPDX-License-Identifier: Apache-2.0
"""The page ``/``: instances, nodes, and what happened last. Public, so it shows no value but addresses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy import Connection

from allotment.messages.desired_state import InstanceStatus, SoftwareStatus
from allotment.messages.event import Event
from allotment.messages.service import InstanceInfo, NodeInfo, SupplyInfo
from allotment_master.api.common import TheMaster
from allotment_master.db import events, instances, nodes, supplies
from allotment_master.kit.pages import Pages

router = APIRouter(include_in_schema=False)
_LOOKS = {  # status -> colour of the badge, glyph
    InstanceStatus.REQUESTED: ("wait", "○"),
    InstanceStatus.WAITING: ("wait", "○"),
    InstanceStatus.PROCESSING: ("busy", "◐"),
    InstanceStatus.GREEN: ("good", "●"),
    InstanceStatus.RED: ("bad", "▲"),
    InstanceStatus.FAILED: ("bad", "✕"),
    InstanceStatus.STOPPED: ("off", "■"),
    InstanceStatus.DESTROYED: ("off", "□"),
    SoftwareStatus.BUILDING: ("busy", "◐"),
    SoftwareStatus.AVAILABLE: ("good", "●"),
    SoftwareStatus.FAILED: ("bad", "✕"),
    SoftwareStatus.REMOVED: ("off", "□"),
}
_SHOWN = 200  # instances, nodes, supplies each


@dataclass(frozen=True)
class Overview:
    """What the page shows."""

    instances: list[InstanceInfo]
    nodes: list[NodeInfo]
    supplies: list[SupplyInfo]
    events: list[Event]
    has_more: bool


@dataclass(frozen=True)
class Look:
    """How a status is shown: a glyph, a word and a colour, never colour alone."""

    colour: str
    glyph: str
    word: str


def look(status: InstanceStatus | SoftwareStatus) -> Look:
    """Return how a status is shown."""
    colour, glyph = _LOOKS[status]
    return Look(colour, glyph, status.value)


@router.get("/")
def home(request: Request, master: TheMaster) -> Response:
    """Show how everything is."""
    pages: Pages = request.app.state.pages
    overview = master.read(_overview)
    counts = {status: sum(item.status is status for item in overview.instances) for status in InstanceStatus}
    return pages.render(
        "home.html", overview=overview, counts=counts, now=master.clock(), look=look, addresses=addresses
    )


def addresses(published: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the published values that are web addresses without a password in them, with their names."""
    found = []
    for name, value in sorted(published.items()):
        if isinstance(value, str) and value.startswith(("http://", "https://")):
            try:
                parts = urlsplit(value)
            except ValueError:
                continue
            if parts.hostname and "@" not in parts.netloc and not parts.query and not parts.fragment:
                found.append((name, value))
    return found


def _overview(connection: Connection) -> Overview:
    found = instances.every(connection, 0, _SHOWN + 1)
    return Overview(
        sorted((item.info for item in found[:_SHOWN]), key=lambda info: info.name),
        nodes.every(connection, "", _SHOWN),
        supplies.every(connection, ("", ""), _SHOWN),
        events.newest(connection, 20),
        len(found) > _SHOWN,
    )
