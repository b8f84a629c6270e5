# SPDX-License-Identifier: Apache-2.0
"""The file that says that a standby instance has taken over: from then on nothing is imported into it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from allotment.atomic import read_limited, write_bytes
from allotment.errors import AllotmentError

FORMAT: Final = 1
DEFAULT: Final = Path("srv/takeover.json")
MOMENT: Final = "%Y-%m-%dT%H:%M:%SZ"  # of UTC
_LIMIT: Final = 1 << 16  # bytes


@dataclass(frozen=True)
class Takeover:
    """When it was, and with which data."""

    moment: str  # UTC, as 2026-11-23T10:30:00Z
    generation: str  # that was restored last; empty when it was forced without one
    predecessor: str = ""  # name of the instance whose place it takes; empty when nobody told it


def read(path: Path) -> Takeover | None:
    """Return what the file says; None when nobody has taken over. One that can't be understood is an error."""
    data = read_limited(path, _LIMIT)
    if data is None:
        return None
    try:
        fields: Any = json.loads(data)
        found = Takeover(fields["moment"], fields["generation"], fields.get("predecessor", ""))
        is_right = fields["format"] == FORMAT and all(isinstance(value, str) for value in asdict(found).values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        is_right = False
    if not is_right:
        raise AllotmentError(f"{path} is not a takeover of format {FORMAT}", "Look who wrote it before removing it")
    return found


def write(path: Path, takeover: Takeover) -> None:
    """Write the file, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, (json.dumps({"format": FORMAT, **asdict(takeover)}) + "\n").encode(), 0o600)


def ask_for_processing(partition: Path, found: Takeover) -> None:
    """Have the node process the instance as what it is now; a node that has done so does nothing."""
    exchange = partition / ".allotment"
    if exchange.is_dir():  # it is, where a node is
        write_bytes(exchange / "process", f"taken over at {found.moment}\n".encode(), 0o600)


def is_taken_over(path: Path) -> bool:
    """Whether there has been a takeover; whatever the file holds, it counts."""
    return path.is_symlink() or path.exists()


def refuse_after(path: Path) -> None:
    """Raise when there has been a takeover."""
    if is_taken_over(path):
        raise AllotmentError("this instance has taken over", "Push to another standby instance")
