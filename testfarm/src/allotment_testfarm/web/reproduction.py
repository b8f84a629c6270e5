# SPDX-License-Identifier: Apache-2.0
"""The JSON API for ``allot farm reproduce``."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from allotment.codec import canonical, encode
from allotment_master.kit.errors import NotFoundError
from allotment_master.kit.listing import tagged
from allotment_testfarm.db import reproductions
from allotment_testfarm.db.reproductions import Reproduction
from allotment_testfarm.web import parameters
from allotment_testfarm.web.app import farm_of

router = APIRouter(prefix="/api/v1")


@router.get("/jobs/{number}/reproduction", response_model=Reproduction)
def get_reproduction(request: Request, number: parameters.Number) -> Response:
    """What it takes to run a job again elsewhere, and how it ended here."""
    with farm_of(request).database.read() as connection:
        found = reproductions.get(connection, number)
    if found is None:
        raise NotFoundError(f"there is no job {number}", "Look at /api/v1/jobs")
    return tagged(request, canonical(encode(found, redacted=True)), "application/json")
