# SPDX-License-Identifier: Apache-2.0
"""What one engine of several does at a time: each duty has a holder, and falls to another one when that is gone."""

from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from allotment_testfarm.db import duties
from allotment_testfarm.engine.workers import Workers

SECONDS = 30.0  # that a duty is held without being asked for; then another engine may have it


class Duties(Protocol):
    """Asked before each round of work that two engines must not do at once."""

    async def mine(self, duty: str) -> bool:
        """Whether this engine is to do it now."""
        ...


class AllDuties:
    """Of an engine that is alone, as on SQLite."""

    async def mine(self, duty: str) -> bool:
        return True


class SharedDuties:
    """Of one engine among several over one database."""

    def __init__(self, clock: IReactorTime, workers: Workers, holder: str) -> None:
        self._clock = clock
        self._workers = workers
        self._holder = holder  # the engine's name
        self._taken: dict[str, float] = {}  # when each was last taken or kept

    async def mine(self, duty: str) -> bool:
        """Take or keep a duty; what was kept a moment ago is not asked for again."""
        now = self._clock.seconds()
        if 0 <= now - self._taken.get(duty, float("-inf")) < SECONDS / 3:
            return True
        self._taken.pop(duty, None)
        if not await self._workers.write(duties.take, duty, self._holder, now, SECONDS):
            return False
        self._taken[duty] = now
        return True

    async def release(self) -> None:
        """Let the others have all of them at once, because this engine stops."""
        self._taken.clear()
        await self._workers.write(duties.release, self._holder)
