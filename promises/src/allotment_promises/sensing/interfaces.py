# SPDX-License-Identifier: Apache-2.0
"""What the kernel counts of network interfaces."""

from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Counted:
    """What went through since the interface is there, both ways together."""

    bytes: float
    dropped: float  # packets
    damaged: float  # packets


def counted(name: str) -> Counted | None:
    """Return the counters of an interface; of an empty name those of all but the loop; None when there is none."""
    # psutil's own memory of counters that began again would be another's: each run is in a new process
    found = psutil.net_io_counters(pernic=True, nowrap=False)
    chosen = [item for key, item in found.items() if (key == name if name else key != "lo")]
    if not chosen:
        return None
    return Counted(
        float(sum(item.bytes_sent + item.bytes_recv for item in chosen)),
        float(sum(item.dropin + item.dropout for item in chosen)),
        float(sum(item.errin + item.errout for item in chosen)),
    )


def shown(name: str) -> str:
    """Return an interface's name, or what stands for all of them, for messages."""
    return f"interface {name}" if name else "all interfaces but lo"


def missing(name: str) -> str:
    """Return a message that there is no such interface."""
    return f"there is no interface {name}" if name else "there is no interface but lo"
