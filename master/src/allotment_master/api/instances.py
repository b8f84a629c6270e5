# SPDX-License-Identifier: Apache-2.0
"""Instances: requested by name."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from allotment.messages.instance import InstanceState
from allotment.messages.service import ServiceRequest, StateRequest
from allotment_master.api.common import InstanceName, TheMaster
from allotment_master.db import instances
from allotment_master.kit.body import body_of, described
from allotment_master.kit.identity import requires
from allotment_master.kit.listing import Limit, answer, page_of

router = APIRouter(prefix="/api/v1/instances", tags=["instances"], dependencies=[Depends(requires("admin", "user"))])
After = Annotated[str, Query(pattern=r"^[0-9]{0,9}$", description="`next` of the page before.")]


@router.put("/{name:path}", openapi_extra=described(ServiceRequest))
def put(
    master: TheMaster, name: InstanceName, asked: Annotated[ServiceRequest, Depends(body_of(ServiceRequest))]
) -> Response:
    """Make an instance be what is asked; the same again changes nothing."""
    return answer(master.request(name, asked))


@router.patch("/{name:path}", openapi_extra=described(StateRequest))
def patch(
    master: TheMaster, name: InstanceName, asked: Annotated[StateRequest, Depends(body_of(StateRequest))]
) -> Response:
    """Start, stop or destroy an instance, all else as it was."""
    return answer(master.set_state(name, asked.state))


@router.delete("/{name:path}")
def delete(master: TheMaster, name: InstanceName) -> Response:
    """Destroy an instance, its children and its data."""
    return answer(master.set_state(name, InstanceState.DESTROYED))


@router.get("")
def every(request: Request, master: TheMaster, limit: Limit = 100, after: After = "") -> Response:
    """List the instances that are not gone, the oldest first."""
    found = master.read(lambda connection: instances.every(connection, int(after or 0), limit + 1))
    numbers = {instance.path: instance.id for instance in found}
    return page_of(request, [instance.info for instance in found], limit, lambda info: numbers[info.name])


@router.get("/{name:path}")
def get(master: TheMaster, name: InstanceName) -> Response:
    """Return the instance of a name: the one that lives, else the last one that did."""
    return answer(master.instance(name))
