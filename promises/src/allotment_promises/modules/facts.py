# SPDX-License-Identifier: Apache-2.0
"""What a module said of itself when it ran: its code decides how often it runs, when, and whether it asks for a bang.

Kept in a file, as nothing but its own process may run that code to ask it. The partition's user can write the file, so
whatever is wrong in it is as if it were not there.
"""

import contextlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from allotment.atomic import read_limited, write_bytes
from allotment.errors import AllotmentError

FOLDER = Path("etc/plugin")  # of the partition: where modules are
STATE = Path(".slapgrid/promise")  # of the partition; where SlapOS has it, as modules write beside it
_PERIOD = 120.0  # seconds; SlapOS's default
SHORTEST = 1.0  # seconds between two runs
LONGEST = 32 * 86400.0  # seconds
_SIZE_LIMIT = 1 << 12  # bytes
_FREQUENCY = re.compile(rb"""["']frequency["']\s*:\s*["']?(\d{1,5}(?:\.\d{1,3})?)\b""")


@dataclass(frozen=True)
class Facts:
    """What holds for a module."""

    period: float = _PERIOD  # seconds
    only: str = ""  # the one phase in which it runs; empty: both
    bang: bool = True

    def __post_init__(self) -> None:
        if not SHORTEST <= self.period <= LONGEST or self.only not in ("", "test", "anomaly"):
            raise ValueError("no facts of a module")


def read(partition: Path, path: Path) -> Facts:
    """Return what is known of the module in the file ``path``; before its first run, what its text seems to say."""
    with contextlib.suppress(
        AllotmentError, OSError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError
    ):
        data = json.loads(read_limited(_path(partition, path.stem), _SIZE_LIMIT) or b"")
        return Facts(float(data["period"]), data["only"], data["bang"] is True)
    with contextlib.suppress(AllotmentError, OSError, ValueError):
        if found := _FREQUENCY.search(read_limited(path, 1 << 20) or b""):
            return Facts(60 * float(found[1]))
    return Facts()


def is_known(partition: Path, path: Path) -> bool:
    """Whether the module in ``path`` has said something since it was written."""
    try:
        return _path(partition, path.stem).stat().st_mtime_ns >= path.stat().st_mtime_ns
    except OSError:
        return False


def told(answer: Mapping[str, Any]) -> Facts:
    """Return the facts that a module's process tells."""
    period = min(max(SHORTEST, 60 * float(answer["minutes"])), LONGEST)
    return Facts(period, str(answer["only"]), bool(answer["bang"]))


def write(partition: Path, name: str, facts: Facts) -> None:
    """Keep ``facts``; where that is not possible the module is run again as before."""
    path = _path(partition, name)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not write_bytes(path, json.dumps(asdict(facts)).encode() + b"\n", sync=False):
            os.utime(path)  # still so, for a module that was written anew


def _path(partition: Path, name: str) -> Path:
    return partition / STATE / "facts" / f"{name}.json"
