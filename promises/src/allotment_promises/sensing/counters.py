# SPDX-License-Identifier: Apache-2.0
"""Counters that only grow, as the kernel's of packets: how much was added over a time."""

from collections.abc import Sequence
from itertools import pairwise


def growth(series: Sequence[tuple[float, float]], time: float, value: float) -> tuple[float, float] | None:
    """Return how much a counter grew since the first point of ``series``, and in how many seconds.

    ``series`` are its values before, (UTC epoch in seconds, value), oldest first; ``value`` is the one at ``time``.
    Where the counter fell it has begun again at zero, after a start of the machine. None: nothing is known of before.
    """
    if not series or time <= series[0][0]:
        return None
    values = [*(item for _, item in series), value]
    added = sum(after - before if after >= before else after for before, after in pairwise(values))
    return added, time - series[0][0]
