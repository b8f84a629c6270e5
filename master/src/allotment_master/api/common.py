# SPDX-License-Identifier: Apache-2.0
"""What the handlers share: the master behind the application, and parameters of addresses."""

from typing import Annotated, TypeAlias

from fastapi import Depends, Path, Query, Request

from allotment_master.kit.app import App
from allotment_master.master import Master

LONGEST = 60.0  # seconds of a long poll


def app_of(request: Request) -> App:
    """Return the application that serves a request."""
    app: App = request.app
    return app


def _master(request: Request) -> Master:
    master: Master = request.app.state.master
    return master


TheMaster: TypeAlias = Annotated[Master, Depends(_master)]
Sha256: TypeAlias = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
NodeName: TypeAlias = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,63}$")]
InstanceName: TypeAlias = Annotated[str, Path(pattern=r"^[A-Za-z0-9._/-]{1,600}$")]
Since: TypeAlias = Annotated[int, Query(ge=0, le=2**53, description="What the caller has seen.")]
Wait: TypeAlias = Annotated[
    float, Query(ge=0, le=LONGEST, allow_inf_nan=False, description="Seconds to wait for something new.")
]
