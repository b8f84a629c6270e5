# SPDX-License-Identifier: Apache-2.0
"""How long to wait after a failure: longer each time, and never the same for two nodes."""

import random
from collections.abc import Callable


class Backoff:
    """Delays of ``first``, twice that, ... up to ``most`` seconds, each shortened by up to a half at random.

    The jitter keeps a thousand nodes from asking a master that has come back all in the same instant.
    """

    def __init__(self, first: float, most: float, jitter: Callable[[], float] = random.random) -> None:
        self._first = first
        self._most = most
        self._jitter = jitter
        self.failures = 0

    def failed(self) -> float:
        """Count a failure; return the seconds to wait before the next try."""
        delay = min(self._most, self._first * 2.0 ** min(self.failures, 32))
        self.failures += 1
        return delay * (1.0 - 0.5 * self._jitter())

    def succeeded(self) -> None:
        """Begin anew."""
        self.failures = 0
