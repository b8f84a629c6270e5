# SPDX-License-Identifier: Apache-2.0
"""How often an instance that asks to be processed again gets it: whoever asks for ever gets it ever less often."""

import time
from collections.abc import Callable
from typing import Final

FIRST: Final = 60.0  # seconds from one processing that was asked for to the next; then twice as many each time
MOST: Final = 3600.0  # seconds


class AskLimit:
    """Counts, by partition, the processings that were asked for; after a pause twice as long as asked all is as new."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rows: dict[str, tuple[float, float]] = {}  # partition -> when it got the last, seconds until the next

    def may(self, partition: str) -> bool:
        """Whether what this partition asks for may be done now."""
        last, pause = self._rows.get(partition, (float("-inf"), 0.0))
        return self._clock() - last >= pause

    def note(self, partition: str) -> None:
        """Count a processing that this partition has asked for."""
        now = self._clock()
        last, pause = self._rows.get(partition, (float("-inf"), FIRST))
        self._rows[partition] = (now, FIRST if now - last > 2 * pause else min(MOST, 2 * pause))

    def forget(self, partition: str) -> None:
        """The instance is gone."""
        self._rows.pop(partition, None)
