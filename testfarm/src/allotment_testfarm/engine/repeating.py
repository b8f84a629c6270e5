# SPDX-License-Identifier: Apache-2.0
"""A service that does something again and again, and survives what goes wrong while doing it."""

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from allotment_testfarm.engine.space import lack_of_space


class RepeatingService(Service):
    """Runs ``work`` every ``interval`` seconds, never twice at a time; first at once, or after an interval."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        work: Callable[[], Coroutine[Any, Any, None]],
        interval: float,
        *,
        at_once: bool = True,
    ) -> None:
        self._work = work
        self._interval = interval  # seconds
        self._at_once = at_once
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self._guarded()))
        self._loop.clock = clock
        self._ended: Deferred[LoopingCall] | None = None

    def startService(self) -> None:
        """Begin."""
        super().startService()
        self._ended = self._loop.start(self._interval, now=self._at_once)

    def stopService(self) -> Deferred[None]:
        """Go no further; fires when what is under way has ended."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        super().stopService()
        if self._loop.running:
            self._loop.stop()
        if self._ended is not None:
            await self._ended

    async def _guarded(self) -> None:
        try:
            await self._work()
        except Exception as error:  # LoopingCall ends at the first one that escapes: a database that is away
            what, seconds = type(self).__name__, self._interval
            if said := lack_of_space(error):
                self._log.error("{what}: the disk is full, next in {s} s: {said}", what=what, s=seconds, said=said)
            else:
                self._log.failure("{what} failed, next in {s} s", what=what, s=seconds)
