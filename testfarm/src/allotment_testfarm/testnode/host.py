# SPDX-License-Identifier: Apache-2.0
"""The figures of this machine that a heartbeat carries."""

import os
import platform as _platform
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class HostFigures:
    """How busy the machine is."""

    load: float  # one-minute load average
    memory_free: int  # bytes that can be had without swapping
    disk_free: int  # bytes


def platform() -> str:
    """Return this machine's platform, as jobs name it: such as ``linux-x86_64``."""
    return f"{_platform.system().lower()}-{_platform.machine()}"


def measure(folder: Path) -> HostFigures:
    """Return the machine's figures now; the disk is the one that ``folder`` is on."""
    return HostFigures(os.getloadavg()[0], _memory_free(), shutil.disk_usage(folder).free)


def _memory_free() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0
