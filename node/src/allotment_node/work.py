# SPDX-License-Identifier: Apache-2.0
"""The agent's work queue: keyed, in threads, each key one at a time."""

import heapq
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from allotment_node.clock import elapsed

_LOOK: Final = 30.0  # seconds after which a thread that waits looks at the clock: the machine may have been suspended
_IDLE: Final = 5.0  # seconds after which a thread that is not needed ends
_log = logging.getLogger(__name__)


class Key(NamedTuple):
    """What to work on: ``kind`` chooses the handler, ``name`` is a partition or a manifest's sha256."""

    kind: str
    name: str


class WorkQueue:
    """Runs ``handler(key)`` when a key is due, in at most ``workers`` threads, which are started when needed.

    A key never runs twice at a time: asked for while it runs, it runs once more afterwards, so the newest state is
    always seen. Asking again for a waiting key keeps the earlier time. Of the threads that have nothing to do one, the
    watcher, waits for the next time; when it takes a key, another one becomes the watcher.
    """

    def __init__(
        self,
        handler: Callable[[Key], None],
        workers: int,
        retry: float = 30.0,
        clock: Callable[[], float] = elapsed,
    ) -> None:
        self._handler = handler
        self._workers = workers
        self._retry = retry  # seconds until work that raised is tried again
        self._clock = clock
        self.asked = 0  # how often work was asked for
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []  # of what is due and does not run; an entry of another time is stale
        self._running: set[Key] = set()
        lock = threading.RLock()
        self._watching = threading.Condition(lock)  # the watcher waits here,
        self._resting = threading.Condition(lock)  # the other threads here,
        self._finished = threading.Condition(lock)  # and who waits for the end of work here
        self._is_watched = False  # there is a watcher, or a thread on its way to be it
        self._is_started = False
        self._stopping = False
        self._rests = 0  # threads that rest,
        self._calls = 0  # and how many of them were called to be the watcher
        self._threads: set[threading.Thread] = set()

    def start(self) -> None:
        """Begin to work."""
        with self._watching:
            self._is_started = True
            self._see_to_watcher()

    def put(self, kind: str, name: str, delay: float = 0.0) -> None:
        """Ask for work in ``delay`` seconds."""
        key = Key(kind, name)
        due = self._clock() + delay
        with self._watching:
            if due < self._due.get(key, float("inf")):
                self.asked += 1
                self._due[key] = due
                if key not in self._running:
                    self._plan(key)

    def settle(self, timeout: float) -> bool:
        """Wait until nothing runs and nothing is due now; for one-shot commands. Return False after ``timeout`` s."""
        deadline = time.monotonic() + timeout
        with self._finished:
            while not self.is_settled():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._finished.wait(min(left, 0.5))
        return True

    def is_settled(self) -> bool:
        """Whether nothing runs and nothing is due now."""
        with self._watching:
            return not self._running and all(due > self._clock() for due in self._due.values())

    def stop(self, timeout: float) -> None:
        """Begin nothing more and wait up to ``timeout`` seconds for what runs."""
        with self._watching:
            self._stopping = True
            self._watching.notify_all()
            self._resting.notify_all()
            threads = list(self._threads)
        deadline = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _plan(self, key: Key) -> None:
        """Have a key taken when it is due."""
        heapq.heappush(self._heap, (self._due[key], key))
        if self._heap[0][1] == key:  # sooner than what the watcher waits for
            self._watching.notify()
        self._see_to_watcher()

    def _see_to_watcher(self) -> None:
        """Have a thread wait for the next key, if there is one and nobody does."""
        if self._is_watched or not self._heap or not self._is_started or self._stopping:
            return
        if self._rests:
            self._is_watched = True
            self._calls += 1
            self._resting.notify()
        elif len(self._threads) < self._workers:
            self._is_watched = True
            thread = threading.Thread(target=self._work, name=f"worker-{len(self._threads)}", daemon=True)
            self._threads.add(thread)
            thread.start()

    def _work(self) -> None:
        """Be the watcher until there is something to do, do it, go on or rest."""
        while (key := self._watch()) is not None:
            try:
                self._handler(key)
            except Exception:  # the agent goes on whatever happens to one piece of work; the traceback is logged
                _log.exception("%s %s failed, next try in %g s", key.kind, key.name, self._retry)
                self.put(key.kind, key.name, self._retry)
            with self._watching:
                self._running.discard(key)
                self._finished.notify_all()
                is_needed, self._is_watched = not self._is_watched, True
                if key in self._due:
                    self._plan(key)
                if not is_needed and not self._rest():
                    break
        with self._watching:
            self._threads.discard(threading.current_thread())

    def _watch(self) -> Key | None:
        """Wait for a key that is due, as the watcher; None: stop."""
        with self._watching:
            while not self._stopping:
                while self._heap and self._is_stale(*self._heap[0]):
                    heapq.heappop(self._heap)
                left = self._heap[0][0] - self._clock() if self._heap else float("inf")
                if left <= 0:
                    key = heapq.heappop(self._heap)[1]
                    del self._due[key]
                    self._running.add(key)
                    self._is_watched = False
                    self._see_to_watcher()
                    return key
                self._watching.wait(min(left, _LOOK))
        return None

    def _is_stale(self, due: float, key: Key) -> bool:
        return key in self._running or self._due.get(key) != due

    def _rest(self) -> bool:
        """Wait to be made the watcher; False: not needed any more."""
        self._rests += 1
        is_called = self._resting.wait_for(lambda: self._calls or self._stopping, _IDLE)
        self._rests -= 1
        self._calls -= bool(self._calls)
        return bool(is_called)


def are_settled(queues: Sequence[WorkQueue]) -> bool:
    """Whether nothing runs and nothing is due now in any of the queues, whose work asks for work of one another."""
    asked = [queue.asked for queue in queues]
    is_settled = all(queue.is_settled() for queue in queues)
    # One that was looked at first may have been asked since, by work of another one that has ended since.
    return is_settled and asked == [queue.asked for queue in queues]
