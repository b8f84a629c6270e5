# SPDX-License-Identifier: Apache-2.0
"""Pauses between tries: growing, jittered so that test nodes do not all come back at once, and cut short on demand."""

import random
import threading
import time

_FIRST = 0.2  # seconds
_LONGEST = 10.0
_IN_A_HURRY = 5.0  # seconds that trying may go on once there is a hurry


class Patience:
    """The back-off of one thing that is tried again and again."""

    def __init__(self, hurry: threading.Event) -> None:
        self._hurry = hurry
        self._next = _FIRST
        self._deadline: float | None = None

    def pause(self) -> bool:
        """Wait before the next try; False when it is time to give up, which is only ever after a hurry began."""
        seconds = self._next * random.uniform(0.5, 1.0)
        self._next = min(self._next * 2, _LONGEST)
        if self._hurry.wait(seconds):
            time.sleep(min(seconds, _FIRST))  # the event no longer waits
        return not self.is_exhausted()

    def is_exhausted(self) -> bool:
        """Return whether a hurry began so long ago that trying should end."""
        if not self._hurry.is_set():
            return False
        if self._deadline is None:
            self._deadline = time.monotonic() + _IN_A_HURRY
        return time.monotonic() >= self._deadline

    def reset(self) -> None:
        """Start again with short pauses: a try has succeeded."""
        self._next = _FIRST
