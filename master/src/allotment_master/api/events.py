# SPDX-License-Identifier: Apache-2.0
"""Events: all changes, in order, as they come."""

from anyio import to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from allotment_master.api.common import Since, TheMaster, Wait, app_of
from allotment_master.db.transaction import EVENTS
from allotment_master.kit.identity import requires
from allotment_master.kit.listing import Limit, answer

router = APIRouter(prefix="/api/v1/events", tags=["events"])


@router.get("", dependencies=[Depends(requires("admin", "user", "farm"))])
async def after(
    request: Request, master: TheMaster, since: Since = 0, wait: Wait = 0.0, limit: Limit = 100
) -> Response:
    """Return the events after ``since``, oldest first, as soon as there are any; none after ``wait`` s.

    ``last`` is the id of the last item, of the newest event when there is none.
    """
    found = await app_of(request).wakeup.wait(EVENTS, lambda: master.events(since, limit), wait)
    items = found or []
    last = items[-1].id if items else await to_thread.run_sync(master.last_event)
    return answer({"items": items, "last": last})
