# SPDX-License-Identifier: Apache-2.0
"""Nodes: registration, what is wanted of them, what they report."""

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from allotment.messages.desired_state import ObservedState
from allotment.messages.service import NodeCredentials, NodeRegistration
from allotment_master.api.common import NodeName, Since, TheMaster, Wait, app_of
from allotment_master.db import nodes
from allotment_master.db.transaction import node_topic
from allotment_master.kit.body import body_of, described
from allotment_master.kit.identity import Identity, requires
from allotment_master.kit.listing import After, Limit, answer, page_of

router = APIRouter(prefix="/api/v1/nodes", tags=["nodes"])


@router.post("", status_code=201, openapi_extra=described(NodeRegistration))
def register(
    master: TheMaster,
    identity: Annotated[Identity, Depends(requires("admin", "enrol"))],
    wanted: Annotated[NodeRegistration, Depends(body_of(NodeRegistration))],
) -> Response:
    """Make a node known; its token is in the answer, this once."""
    token = master.register(wanted, identity)
    return answer(NodeCredentials(wanted.name, token), 201)


@router.get("", dependencies=[Depends(requires("admin", "user", "farm"))])
def every(request: Request, master: TheMaster, limit: Limit = 100, after: After = "") -> Response:
    """List nodes by name."""
    found = master.read(lambda connection: nodes.every(connection, after, limit + 1))
    return page_of(request, found, limit, lambda node: node.name)


@router.get(
    "/{node}/desired", dependencies=[Depends(requires("admin", "node"))], responses={304: {"description": "As before"}}
)
async def desired(request: Request, master: TheMaster, node: NodeName, since: Since = 0, wait: Wait = 0.0) -> Response:
    """Return what is wanted of a node as soon as it is not what it was at ``since``; else 304 after ``wait`` s."""
    await to_thread.run_sync(master.see, node)
    found = await app_of(request).wakeup.wait(node_topic(node), lambda: master.desired(node, since), wait)
    return Response(status_code=304) if found is None else answer(found)


@router.post(
    "/{node}/observed",
    status_code=204,
    dependencies=[Depends(requires("admin", "node"))],
    openapi_extra=described(ObservedState),
)
def observed(
    master: TheMaster, node: NodeName, report: Annotated[ObservedState, Depends(body_of(ObservedState))]
) -> Response:
    """Take in what a node has observed."""
    master.observe(node, report)
    return Response(status_code=204)
