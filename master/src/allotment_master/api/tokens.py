# SPDX-License-Identifier: Apache-2.0
"""Tokens: made by an admin."""

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from allotment.messages.service import TokenAnswer, TokenRequest
from allotment_master.api.common import TheMaster
from allotment_master.kit.body import body_of, described
from allotment_master.kit.identity import requires
from allotment_master.kit.listing import answer

router = APIRouter(prefix="/api/v1/tokens", tags=["tokens"])


@router.post("", status_code=201, dependencies=[Depends(requires("admin"))], openapi_extra=described(TokenRequest))
def create(master: TheMaster, asked: Annotated[TokenRequest, Depends(body_of(TokenRequest))]) -> Response:
    """Make a token; it is in the answer, this once."""
    return answer(TokenAnswer(asked.scope, master.create_token(asked.scope)), 201)
