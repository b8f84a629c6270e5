# SPDX-License-Identifier: Apache-2.0
"""Supplies: which release is offered on which node."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from allotment.messages.service import SupplyRequest
from allotment_master.api.common import TheMaster
from allotment_master.db import supplies
from allotment_master.kit.body import body_of, described
from allotment_master.kit.identity import requires
from allotment_master.kit.listing import After, Limit, answer, page_of

router = APIRouter(prefix="/api/v1/supplies", tags=["supplies"])


@router.put("", dependencies=[Depends(requires("admin"))], openapi_extra=described(SupplyRequest))
def put(master: TheMaster, asked: Annotated[SupplyRequest, Depends(body_of(SupplyRequest))]) -> Response:
    """Offer a release on a node, or take it away."""
    return answer(master.supply(asked))


@router.get("", dependencies=[Depends(requires("admin", "user", "farm"))])
def every(request: Request, master: TheMaster, limit: Limit = 100, after: After = "") -> Response:
    """List supplies by node and manifest."""
    node, _, manifest = after.partition("/")
    found = master.read(lambda connection: supplies.every(connection, (node, manifest), limit + 1))
    return page_of(request, found, limit, lambda supply: f"{supply.node}/{supply.manifest}")
