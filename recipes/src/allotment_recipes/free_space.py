# SPDX-License-Identifier: Apache-2.0
"""Disks that are full: told before anything is written, and as what the machine lacks."""

import errno
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from allotment.errors import MachineError

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_BLOCK: Final = 4096  # bytes that the smallest file takes
_LITTLE: Final = 1 << 18  # bytes; who writes with fewer left may have failed


class FullDiskError(MachineError):
    """There is no space for what is to be written."""


def is_full(folder: Path) -> bool:
    """Tell whether the disk of a folder has no space for anything but the smallest files."""
    status = os.statvfs(folder)
    return bool(status.f_blocks) and _free(status) < _LITTLE


def check_space(files: Iterable[tuple[Path, int]]) -> None:
    """Raise when files of these sizes (bytes) have no space; a quota is told when it is met only."""
    needed: Counter[int] = Counter()
    places: dict[int, Path] = {}
    for path, size in files:
        place = next(parent for parent in path.parents if parent.is_dir())
        device = place.stat().st_dev
        places[device] = place
        needed[device] += -(-size // _BLOCK) * _BLOCK
    for device, size in needed.items():
        status = os.statvfs(places[device])
        free = _free(status)
        if size > free and status.f_blocks:  # some file systems don't tell
            raise FullDiskError(
                f"{places[device]}: {free} bytes are left on this disk, and {size} are needed",
                "Make space: nothing was changed",
            )


def _free(status: os.statvfs_result) -> int:
    return (status.f_bavail if os.geteuid() else status.f_bfree) * status.f_frsize
