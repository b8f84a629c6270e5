# SPDX-License-Identifier: Apache-2.0
"""Keeps the ready queue what the database says, whoever has changed that: this engine, another one, a command."""

from collections.abc import Callable, Collection

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from allotment_testfarm.db import events, waiting
from allotment_testfarm.engine.queue import ReadyQueue
from allotment_testfarm.engine.workers import Workers

WHOLE = 10.0  # seconds between two looks at all that waits; events are a hint in between


class Feed:
    """Fills ``queue``; ``on_ready`` is called when there may be a job for somebody who waits."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, workers: Workers, queue: ReadyQueue, on_ready: Callable[[], None]) -> None:
        self._clock = clock
        self._workers = workers
        self._queue = queue
        self._on_ready = on_ready
        self._turn = DeferredLock()  # what is added while all that waits is read would be dropped as unknown
        self._seen = 0  # id of an event
        self._whole: float | None = None  # when all was read

    async def add(self, jobs: Collection[int]) -> None:
        """Take in jobs that this engine has just set waiting."""
        await self._turn.acquire()
        try:
            for job in await self._workers.read(waiting.load, jobs):
                self._queue.add(job, self._clock.seconds())
        finally:
            self._turn.release()
        self._on_ready()

    async def look(self) -> None:
        """Take in what others have changed, and what has become ready by itself; called again and again."""
        await self._turn.acquire()
        try:
            now = self._clock.seconds()
            if self._whole is None or not 0 <= now - self._whole < WHOLE:
                is_news = await self._look_at_all()
                self._whole = now
            else:
                is_news = await self._look_at_news()
            is_news |= self._queue.advance(now)
        finally:
            self._turn.release()
        if is_news:
            self._on_ready()

    async def _look_at_all(self) -> bool:
        if self._whole is None:
            self._seen = await self._workers.read(events.newest)
        missing = self._queue.match(await self._workers.read(waiting.all_ids))
        is_news = self._queue.let_go(self._clock.seconds())
        if not missing:
            return is_news
        for job in await self._workers.read(waiting.load, missing):
            self._queue.add(job, self._clock.seconds())
        if self._whole is None:
            self._log.info("{count} jobs wait", count=len(self._queue))
        return True

    async def _look_at_news(self) -> bool:
        news = await self._workers.read(waiting.news, self._seen)
        self._seen = news.newest
        now = self._clock.seconds()
        is_news = bool(news.waiting)
        for job in news.waiting:
            self._queue.add(job, now)
        for number in news.ended:
            is_news |= self._queue.ended(number, now)
        return is_news
