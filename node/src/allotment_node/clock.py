# SPDX-License-Identifier: Apache-2.0
"""The clock by which work is planned: nobody sets it, and it goes on while the machine is suspended."""

import time


def elapsed() -> float:
    """Return the seconds since the machine was started, those in which it was suspended included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
