# SPDX-License-Identifier: Apache-2.0
"""Status files: what the last export, pull, push or restore did, for people, promises and the other side."""

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from allotment.atomic import read_limited, write_bytes
from allotment.errors import AllotmentError
from allotment_recipes.resilience.generations import Generation, is_name, made_at

FORMAT: Final = 1
_LIMIT: Final = 1 << 16  # bytes
_AHEAD: Final = 3600.0  # seconds by which the other side's clock may be ahead
_LONGEST: Final = 4000  # characters of an error

WORKING, DONE, FAILED = "working", "done", "failed"


class NothingYet(AllotmentError):
    """There is nothing to copy yet: no failure, until it is late."""


@dataclass(frozen=True)
class Status:
    """The last attempt, and the last copy that it or an earlier one brought to its end."""

    result: str = ""  # "working", "done", "failed", or nothing yet; one that was killed stays "working"
    began: float = 0.0  # seconds since the UTC epoch
    seconds: float = 0.0  # that it took
    error: str = ""  # why it failed
    generation: str = ""  # the last copy that is whole
    files: int = 0  # in that copy
    bytes: int = 0  # in that copy

    def problem(self, now: float, max_age: float, since: float) -> str:
        """Say what is wrong, or nothing: the last attempt failed, or the copy is older than ``max_age`` seconds.

        ``since`` (UTC epoch) is when somebody was first told to make one: until then there need be none.
        """
        if self.result == FAILED:
            return f"failed: {self.error}"
        if not self.generation:
            return "there is no whole copy yet" if now - since > max_age else ""
        age = now - made_at(self.generation)
        if age < -_AHEAD:
            return f"the last whole copy comes from the future, by {-age / 3600:.1f} hours: look at the clocks"
        return f"the last whole copy is {age / 3600:.1f} hours old" if age > max_age else ""


def parse(text: str | bytes, source: str) -> Status:
    """Return the status that a text says; ``source`` is named in errors."""
    fields: Any = None
    with contextlib.suppress(ValueError, RecursionError):
        fields = json.loads(text)
    if not isinstance(fields, dict):
        raise AllotmentError(f"{source} is not a status", "Remove the file, or look what the other side runs")
    if fields.pop("format", None) != FORMAT:
        raise AllotmentError(f"{source} has not format {FORMAT}", "Update this node")
    kinds: dict[str, type] = {name: type(value) for name, value in dataclasses.asdict(Status()).items()}
    known: dict[str, Any] = {name: value for name, value in fields.items() if type(value) is kinds.get(name)}
    if known.keys() != kinds.keys() or not (known["generation"] == "" or is_name(known["generation"])):
        raise AllotmentError(f"{source} is not a status", "Remove the file, or look what the other side runs")
    return Status(**known)


def dumps(status: Status) -> str:
    """Return a status as the text of its file."""
    return json.dumps({"format": FORMAT, **dataclasses.asdict(status)}) + "\n"


def read(path: Path) -> Status:
    """Return what the file says; before the first attempt, that there was none."""
    data = read_limited(path, _LIMIT)
    return Status() if data is None else parse(data, str(path))


def spoil(path: Path, error: str) -> None:
    """Note that the last copy is not as it was left: it counts as a failed attempt until the next one."""
    write_bytes(path, dumps(dataclasses.replace(read(path), result=FAILED, error=error)).encode(), 0o600)


@contextlib.contextmanager
def noted(path: Path) -> Iterator[Callable[[Generation], None]]:
    """Note in the file that an attempt is at work, and how it ends; call what is given with the copy that is whole.

    Only an error that is ours or the system's is noted; one who is killed leaves "working". When there was nothing to
    do yet, it is as if nobody had tried.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    began, clock = time.time(), time.monotonic()
    status = dataclasses.replace(read(path), result=WORKING, began=began, seconds=0.0, error="")

    def put(**changes: Any) -> None:
        nonlocal status
        status = dataclasses.replace(status, **changes)
        write_bytes(path, dumps(status).encode(), 0o600)

    def whole(made: Generation) -> None:
        put(generation=made.name, files=made.files, bytes=made.bytes)

    put()
    try:
        yield whole
    except NothingYet:
        put(result="")
        raise
    except (AllotmentError, OSError) as error:
        put(result=FAILED, seconds=round(time.monotonic() - clock, 3), error=str(error)[:_LONGEST])
        raise
    put(result=DONE, seconds=round(time.monotonic() - clock, 3))
