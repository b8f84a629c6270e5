# SPDX-License-Identifier: Apache-2.0
"""The agent's work queue: keyed, in threads, each key one at a time."""

import logging
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

_log = logging.getLogger(__name__)


class Key(NamedTuple):
    """What to work on: ``kind`` chooses the handler, ``name`` is a partition or a manifest's sha256."""

    kind: str
    name: str


class WorkQueue:
    """Runs ``handler(key)`` in ``workers`` threads when a key is due.

    A key never runs twice at a time: asked for while it runs, it runs once more afterwards, so the newest state is
    always seen. Asking again for a waiting key keeps the earlier time.
    """

    def __init__(self, handler: Callable[[Key], None], workers: int, retry: float = 30.0) -> None:
        self._handler = handler
        self._workers = workers
        self._retry = retry  # seconds until work that raised is tried again
        self._due: dict[Key, float] = {}
        self._running: set[Key] = set()
        self._condition = threading.Condition()  # re-entrant
        self._stopping = False
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads."""
        for number in range(self._workers):
            thread = threading.Thread(target=self._work, name=f"worker-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def put(self, kind: str, name: str, delay: float = 0.0) -> None:
        """Ask for work in ``delay`` seconds."""
        key = Key(kind, name)
        due = time.monotonic() + delay
        with self._condition:
            self._due[key] = min(due, self._due.get(key, due))
            self._condition.notify()

    def settle(self, timeout: float) -> bool:
        """Wait until nothing runs and nothing is due now; for one-shot commands. Return False after ``timeout`` s."""
        deadline = time.monotonic() + timeout
        with self._condition:
            while not self.is_settled():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._condition.wait(min(left, 0.5))
        return True

    def is_settled(self) -> bool:
        """Whether nothing runs and nothing is due now."""
        with self._condition:
            return not self._running and all(due > time.monotonic() for due in self._due.values())

    def stop(self, timeout: float) -> None:
        """Begin nothing more and wait up to ``timeout`` seconds for what runs."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _next(self) -> Key | None:
        """Wait for a key that is due and not running; None: stop."""
        with self._condition:
            while not self._stopping:
                now = time.monotonic()
                ready = [(due, key) for key, due in self._due.items() if key not in self._running]
                due, key = min(ready, default=(None, None))
                if due is not None and key is not None and due <= now:
                    del self._due[key]
                    self._running.add(key)
                    return key
                self._condition.wait(None if due is None else due - now)
        return None

    def _work(self) -> None:
        while (key := self._next()) is not None:
            try:
                self._handler(key)
            except Exception:  # the agent goes on whatever happens to one piece of work; the traceback is logged
                _log.exception("%s %s failed, next try in %g s", key.kind, key.name, self._retry)
                self.put(key.kind, key.name, self._retry)
            finally:
                with self._condition:
                    self._running.discard(key)
                    self._condition.notify_all()
