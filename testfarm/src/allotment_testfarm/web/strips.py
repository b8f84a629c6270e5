# SPDX-License-Identifier: Apache-2.0
"""The past of every release at a glance: a character for each revision, kept a while because the past rests."""

import threading
from collections.abc import Callable, Mapping

import sqlalchemy as sa

from allotment_testfarm.db import matrix
from allotment_testfarm.db.matrix import Key

_SECONDS = 120.0  # that a retry of a job that is older than the cells may take to be seen here
_MOST = 16


class Strips:
    """Reads strips at most once in two minutes for each project and window."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[tuple[int, int, int], tuple[float, Mapping[Key, str]]] = {}
        self._lock = threading.Lock()

    def read(self, connection: sa.Connection, project: int, newest: int, length: int) -> Mapping[Key, str]:
        """Return what :func:`matrix.strips` does."""
        which = project, newest, length
        with self._lock:
            until, found = self._known.get(which, (0.0, {}))
        if self._clock() >= until:
            found = matrix.strips(connection, project, newest, length)
            with self._lock:
                while len(self._known) >= _MOST:
                    self._known.pop(next(iter(self._known)))
                self._known[which] = self._clock() + _SECONDS, found
        return found
