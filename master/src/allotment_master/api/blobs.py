# SPDX-License-Identifier: Apache-2.0
"""Blobs: bytes by their sha256, streamed both ways."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from anyio import CapacityLimiter, from_thread, to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, Response

from allotment_master.api.common import Sha256, TheMaster
from allotment_master.kit.errors import NotFoundError
from allotment_master.kit.identity import requires

LIMIT = 1 << 30  # bytes of a blob
PREFIX = "/api/v1/blobs/"
# Uploads take as long as their sender likes: they have threads of their own, so that no other call waits for them.
_UPLOADS = 8
router = APIRouter(prefix="/api/v1/blobs", tags=["blobs"])
_READERS = [Depends(requires("admin", "user", "farm", "node"))]
_BYTES: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


def limit_of(path: str) -> int | None:
    """Return the limit of bodies sent to an address."""
    return LIMIT if path.startswith(PREFIX) else None


@router.put(
    "/{sha256}",
    status_code=201,
    dependencies=[Depends(requires("admin", "farm"))],
    openapi_extra={"requestBody": {"required": True, "content": _BYTES}},
)
async def put(request: Request, master: TheMaster, sha256: Sha256) -> Response:
    """Store bytes whose sha256 is the address."""
    state = request.app.state
    if not hasattr(state, "uploads"):
        state.uploads = CapacityLimiter(_UPLOADS)  # belongs to the running loop, so it is not made at import
    chunks = request.stream()
    await to_thread.run_sync(lambda: master.blobs.write(_pulled(chunks), sha256, LIMIT), limiter=state.uploads)
    return Response(status_code=201)


@router.api_route("/{sha256}", methods=["GET"], dependencies=_READERS, response_class=FileResponse)
def get(master: TheMaster, sha256: Sha256) -> Response:
    """Return the bytes."""
    return _file(master, sha256)


@router.head("/{sha256}", dependencies=_READERS)
def head(master: TheMaster, sha256: Sha256) -> Response:
    """Tell whether the bytes are here."""
    return _file(master, sha256)


def _file(master: TheMaster, sha256: str) -> FileResponse:
    if sha256 not in master.blobs:
        raise NotFoundError(f"blob {sha256} is not here", "Upload it first")
    # The name is the hash: what is under it never changes.
    headers = {"Cache-Control": "private, max-age=31536000, immutable", "ETag": f'"{sha256}"'}
    return FileResponse(master.blobs.path(sha256), media_type="application/octet-stream", headers=headers)


def _pulled(chunks: AsyncIterator[bytes]) -> Iterator[bytes]:
    """Give a worker thread the chunks that arrive on the loop."""

    async def following() -> bytes | None:
        try:
            return await anext(chunks)
        except StopAsyncIteration:  # can't cross from the loop to a thread as it is
            return None

    while (chunk := from_thread.run(following)) is not None:
        yield chunk
