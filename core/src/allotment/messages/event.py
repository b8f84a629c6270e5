# SPDX-License-Identifier: Apache-2.0
"""Events: every change of desired or observed state, in order; history, audit and live updates read the same list."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from allotment.codec import Json, message


@message("event", format=1)
@dataclass(frozen=True)
class Event:
    """One change."""

    id: int  # grows by time; ids may have holes
    time: float  # UTC epoch, seconds
    kind: str  # such as "instance.requested" or "job.finished"
    subject: str  # what it happened to, such as "instance/hello" or "job/12"
    data: Mapping[str, Json] = field(default_factory=dict)
