# SPDX-License-Identifier: Apache-2.0
"""Anomaly detectors: each judges measurements of the past, oldest first, the last one being new; usable apart."""

from collections.abc import Sequence
from dataclasses import replace

from allotment_promises.measurement import Measurement


def k_of_n(history: Sequence[Measurement], failures: int, window: int, over: float = 0.0) -> Measurement:
    """Fail when the newest and at least ``failures`` of the newest ``window`` failed, none older than ``over`` s."""
    newest = history[-1]
    if newest.is_passed:
        return newest
    counted = [item for item in history[-window:] if not over or item.time >= newest.time - over]
    count = sum(not item.is_passed for item in counted)
    if count >= failures:
        return newest
    message = f"failed {count} of {window} times, tolerated below {failures}: {newest.message}"
    return replace(newest, is_passed=True, message=message)
