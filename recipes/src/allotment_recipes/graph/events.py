# SPDX-License-Identifier: Apache-2.0
"""The events of a build, one JSON object a line: read while it runs by what shows it, and afterwards by charts.

Each has ``at`` (seconds since the UTC epoch), ``part`` and ``event``: ``waiting``, then ``started``, then one of
``fetched``, ``built``, ``reused`` and ``failed``. Of an end there are the ``seconds`` and ``cpu`` seconds, or ``why``
it failed; before, the seconds ``expected`` of the part, and of the ``path`` to the end of all that waits for it.
"""

import contextlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from allotment_recipes.context import RunContext

EVENTS: Final = ".build-events.jsonl"  # in a release's folder: what its last build did
FINAL: Final = ("fetched", "built", "reused", "failed")


@dataclass(frozen=True)
class Event:
    """One line of the file."""

    at: float  # seconds since the UTC epoch
    part: str
    event: str
    seconds: float = 0.0
    cpu: float = 0.0  # seconds, of all that the part has started
    expected: float | None = None  # seconds that it took the last time
    path: float | None = None  # seconds from its beginning to the end of all that waits for it, as expected
    why: str = ""


def tell(run: "RunContext", part: str, event: str, **more: Any) -> None:
    """Write an event of a build; an instance's run has none.

    The end of a part is noted in ``run.ended``. In a child it is only that: its parent tells it when the child has
    ended, with the seconds that it took.
    """
    tell_all(run, [{"part": part, "event": event, **more}])


def tell_all(run: "RunContext", events: Iterable[Mapping[str, Any]]) -> None:
    """Write several events at once."""
    if run.closure is None:
        return
    at = round(time.time(), 3)
    lines = []
    for event in events:
        if event["event"] in FINAL:
            run.ended[event["part"]] = event["event"]
            if run.is_child:
                continue
        lines.append(json.dumps({"at": at, **event}) + "\n")
    with (run.folder / EVENTS).open("ab", buffering=0) as file:
        file.write("".join(lines).encode())


def parse(lines: Iterable[bytes]) -> Iterator[Event]:
    """Return the events of whole lines, without those that a full disk has cut off."""
    for line in lines:
        with contextlib.suppress(ValueError):
            fields = json.loads(line)
            yield Event(**{name: fields[name] for name in Event.__dataclass_fields__ if name in fields})


def read(folder: Path) -> list[Event]:
    """Return the events of a release's last build; a line that was cut off is left out."""
    try:
        lines = (folder / EVENTS).read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    return list(parse(lines))
