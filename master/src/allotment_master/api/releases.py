# SPDX-License-Identifier: Apache-2.0
"""Manifests and the releases that they make."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from allotment.messages.manifest import SignedManifest
from allotment_master.api.common import Sha256, TheMaster
from allotment_master.db import manifests
from allotment_master.kit.body import body_of, described
from allotment_master.kit.errors import InvalidError
from allotment_master.kit.identity import requires
from allotment_master.kit.listing import Limit, answer, page_of

router = APIRouter(prefix="/api/v1", tags=["releases"])
_READERS = [Depends(requires("admin", "user", "farm", "node"))]
Before = Annotated[str, Query(alias="after", pattern=r"^[0-9]{0,9}$", description="`next` of the page before.")]


@router.put(
    "/manifests/{sha256}",
    status_code=201,
    dependencies=[Depends(requires("admin", "farm"))],
    openapi_extra=described(SignedManifest),
)
def put(
    master: TheMaster, sha256: Sha256, signed: Annotated[SignedManifest, Depends(body_of(SignedManifest))]
) -> Response:
    """Add a release, or signatures to one."""
    found = signed.manifest.sha256
    if found != sha256:
        raise InvalidError(f"the manifest's sha256 is {found}, not {sha256}", "Send it to its own address")
    master.add_manifest(signed)
    return Response(status_code=201)


@router.get("/manifests/{sha256}", dependencies=_READERS)
def get(master: TheMaster, sha256: Sha256) -> Response:
    """Return a manifest with its signatures."""
    return answer(master.read(lambda connection: manifests.get(connection, sha256)))


@router.get("/releases", dependencies=_READERS)
def every(request: Request, master: TheMaster, limit: Limit = 100, before: Before = "") -> Response:
    """List releases, the newest first."""
    number = int(before) if before else None
    found = master.read(lambda connection: manifests.every(connection, number, limit + 1))
    shown = [info for _, info in found]
    numbers = {info.manifest: number for number, info in found}
    return page_of(request, shown, limit, lambda info: numbers[info.manifest])
