# SPDX-License-Identifier: Apache-2.0
"""The figures of this machine, and whether there is enough left of it for another job."""

import os
import platform as _platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from allotment_testfarm.testnode.sizes import shown


@dataclass(frozen=True)
class HostFigures:
    """How busy the machine is."""

    load: float  # one-minute load average
    memory_free: int  # bytes that can be had without swapping
    disk_free: int  # bytes


@dataclass(frozen=True)
class Wanted:
    """What must be free for a job to be taken: one that ends on a full machine says nothing about the software."""

    disk: int = 2_000_000_000  # bytes, of the test node's folder
    memory: int = 512_000_000  # bytes

    def lacking(self, figures: HostFigures) -> str:
        """Return what there is too little of, for people; "" when a job may come."""
        for what, free, wanted in (
            ("disk space", figures.disk_free, self.disk),
            ("memory", figures.memory_free, self.memory),
        ):
            if free < wanted:
                return f"has little {what}: {shown(free)} free, {shown(wanted)} wanted"
        return ""


def platform() -> str:
    """Return this machine's platform, as jobs name it: such as ``linux-x86_64``."""
    return f"{_platform.system().lower()}-{_platform.machine()}"


def measure(folder: Path) -> HostFigures:
    """Return the machine's figures now; the disk is the one that ``folder`` is on."""
    return HostFigures(os.getloadavg()[0], _memory("MemAvailable"), shutil.disk_usage(folder).free)


def memory() -> int:
    """Return how many bytes of memory the machine has."""
    return _memory("MemTotal")


def _memory(field: str) -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0
