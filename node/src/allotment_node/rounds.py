# SPDX-License-Identifier: Apache-2.0
"""The end of oscillation: an instance whose requests change with each answer to them would go round forever."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from allotment.codec import canonical, encode
from allotment.messages.desired_state import DesiredState
from allotment.messages.instance import InstanceRequests

LIMIT: Final = 12  # rounds, besides those in which a child answered for the first time
GAP: Final = 60.0  # seconds; what changes more slowly than this is life, not oscillation


@dataclass(frozen=True)
class _Row:
    basis: str
    requests: str
    count: int
    answered: int  # most children that had answered
    time: float


class Rounds:
    """Counts, by partition, the processings in a row in which only the answers changed and the requests did too."""

    def __init__(self, limit: int = LIMIT, gap: float = GAP, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._gap = gap
        self._clock = clock
        self._rows: dict[str, _Row] = {}

    def is_exhausted(self, document: DesiredState) -> bool:
        """Whether this partition has used up its rounds and nothing but answers has changed since."""
        row = self._rows.get(document.partition)
        if row is None or row.basis != _basis(document) or row.count < self.limit:
            return False
        if self._clock() - row.time > self._gap:
            del self._rows[document.partition]
            return False
        self._rows[document.partition] = replace(row, time=self._clock())
        return True

    def note(self, document: DesiredState, requests: InstanceRequests | None) -> bool:
        """Count a processing; return True when it was one round too many and its requests must not be passed on."""
        now, basis = self._clock(), _basis(document)
        found = _digest(encode(requests.requests) if requests else [])
        row = self._rows.get(document.partition)
        count, answered = 0, len(document.answers)
        if row is not None and row.basis == basis and now - row.time <= self._gap and row.requests != found:
            count = row.count + (answered <= row.answered)  # else it is one child more: that comes to an end
            answered = max(answered, row.answered)
        self._rows[document.partition] = _Row(basis, found, count, answered, now)
        return count >= self.limit

    def forget(self, partition: str) -> None:
        """The instance is gone."""
        self._rows.pop(partition, None)


def _basis(document: DesiredState) -> str:
    """Return the hash of what people ask for: all but the answers of children."""
    data = encode(document)
    del data["generation"], data["answers"]
    return _digest(data)


def _digest(data: object) -> str:
    return hashlib.sha256(canonical(data)).hexdigest()
