# SPDX-License-Identifier: Apache-2.0
"""Long polls: handlers on the event loop wait for topics that worker threads touch after their commits."""

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeVar

from anyio import to_thread

T = TypeVar("T")


class Wakeup:
    """Wakes the waiters of a topic at once; what other processes commit is found by asking every ``poll`` seconds."""

    def __init__(self, poll: float = 1.0) -> None:
        self._poll = poll
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self._closed = False

    @property
    def is_closed(self) -> bool:
        """Whether the server stops: a wait ends at once."""
        return self._closed

    def touch(self, topics: Iterable[str]) -> None:
        """Wake who waits for any of the topics; from any thread, after the commit."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._fire, frozenset(topics))

    def close(self) -> None:
        """Let all waits end now, with what they find; from the loop's thread, when the server stops."""
        self._closed = True
        self._fire(frozenset(self._waiters))

    async def wait(self, topic: str, check: Callable[[], T | None], seconds: float) -> T | None:
        """Return what ``check`` finds as soon as it is not None, and None after ``seconds``.

        ``check`` runs in a worker thread, first at once, then at each touch.
        """
        self._loop = loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        woken = asyncio.Event()
        self._waiters.setdefault(topic, set()).add(woken)  # before the first check: no touch falls in between
        try:
            while True:
                woken.clear()
                found = await to_thread.run_sync(check)
                left = end - loop.time()
                if found is not None or left <= 0 or self._closed:
                    return found
                try:
                    await asyncio.wait_for(woken.wait(), min(left, self._poll))
                except TimeoutError:
                    continue
        finally:
            self._waiters[topic].discard(woken)
            if not self._waiters[topic]:
                del self._waiters[topic]

    def _fire(self, topics: frozenset[str]) -> None:
        for topic in topics:
            for waiter in self._waiters.get(topic, ()):
                waiter.set()
