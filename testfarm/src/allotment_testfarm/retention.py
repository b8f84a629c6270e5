# SPDX-License-Identifier: Apache-2.0
"""How long a farm keeps what takes space. The rows of jobs, attempts and test cases stay for ever."""

from dataclasses import dataclass
from typing import Final

DAY: Final = 86400.0  # seconds


@dataclass(frozen=True)
class Rules:
    """What is kept; what none of these keeps is removed, little by little."""

    green_logs: float = 30.0  # days that the log of a green job is kept
    logs: float = 180.0  # days that every other log is kept
    jobs: int = 20  # so many newest jobs of each release keep their logs, however old they are
    manifests: int = 10  # so many newest manifests of each release keep their closures, and the logs that proved them
    events: float = 90.0  # days that events are kept
    parts: float = 30.0  # days that a part of the binary cache is kept that none of these manifests names
