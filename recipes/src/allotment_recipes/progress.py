# SPDX-License-Identifier: Apache-2.0
"""Lines that say how far a download is: every few seconds one, so a short download prints none."""

import logging
import time
from collections.abc import Callable
from typing import Final

INTERVAL: Final = 3.0  # seconds between two lines
_MEGABYTE: Final = 1_000_000
_logger = logging.getLogger("fetch")


class Progress:
    """Counts the bytes of one download; ``total`` is 0 when the server did not say it."""

    def __init__(self, name: str, total: int, done: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._total = total
        self._done = done
        self._clock = clock
        self._began = clock()
        self._before = done  # bytes that came before
        self._next = self._began + INTERVAL

    def add(self, size: int) -> None:
        """Note that ``size`` more bytes have come."""
        self.reach(self._done + size)

    def reach(self, done: int) -> None:
        """Note that ``done`` bytes have come in all."""
        self._done = done
        now = self._clock()
        if now < self._next:
            return
        self._next = now + INTERVAL
        of = f" of {self._total / _MEGABYTE:.1f}" if self._total else ""
        rate = (done - self._before) / _MEGABYTE / (now - self._began)
        _logger.info("%s: %.1f%s MB, %.1f MB/s", self._name, done / _MEGABYTE, of, rate)
