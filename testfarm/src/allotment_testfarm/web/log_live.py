# SPDX-License-Identifier: Apache-2.0
"""Logs as they are written, for any number of readers: server-sent events that go on where a reader has stopped.

However many readers a log has, it is looked at once per ``TICK`` and each piece of it is painted once. A reader asks
for its next piece when it has taken the last, so one that is slow costs nothing but leaves out what it can't follow.
"""

import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from allotment_master.kit.wakeup import Wakeup
from allotment_testfarm.logs.reader import Log
from allotment_testfarm.web import log_lines
from allotment_testfarm.web.log_lines import Place

TICK = 0.05  # seconds between two looks at the files
HEARTBEAT = 15.0  # seconds in which a reader hears something
_ENDS = 0.5  # seconds between two looks for attempts that have ended
_LINES = 500  # of one event
_SIZE = 64 << 10  # bytes of one event
_FAR = 512 << 10  # bytes that a reader may be behind: more is left out, but the last ...
_NEAR = 128 << 10  # ... bytes
_RECENT = 16  # events that are kept for other readers
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Position:
    """What a reader has."""

    place: Place
    size: int  # of the log when it was read


@dataclass(frozen=True)
class _Event:
    text: bytes
    after: _Position
    is_last: bool = False


@dataclass
class _Followed:
    """A log that has readers."""

    path: Path
    readers: int = 0
    state: tuple[int, int] | None = None  # of its file at the last look
    end: bool | None = None  # once the attempt has ended: whether its job is done
    recent: OrderedDict[_Position, _Event] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class LiveLogs:
    """``ends`` tells which attempts have ended, and for each whether its job is done.

    A thread looks at the files and asks it, while there are readers.
    """

    def __init__(self, wakeup: Wakeup, ends: Callable[[Collection[int]], Mapping[int, bool]]) -> None:
        self._wakeup = wakeup
        self._ends = ends
        self._followed: dict[int, _Followed] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    async def events(self, attempt: int, path: Path, start: Place) -> AsyncIterator[bytes]:
        """Yield the lines of an attempt's log from ``start`` on, until that has ended or this process stops."""
        followed = self._follow(attempt, path)
        position = _Position(start, start.offset)
        try:
            yield b"retry: 1000\n\n"
            while not self._wakeup.is_closed:
                event = await self._wakeup.wait(_topic(attempt), partial(_next, followed, position), HEARTBEAT)
                if event is None:
                    yield b": still here\n\n"
                    continue
                yield event.text
                if event.is_last:
                    return
                position = event.after
        finally:
            self._leave(attempt)

    def _follow(self, attempt: int, path: Path) -> _Followed:
        with self._lock:
            followed = self._followed.setdefault(attempt, _Followed(path))
            followed.readers += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="logs", daemon=True)
                self._thread.start()
            return followed

    def _leave(self, attempt: int) -> None:
        with self._lock:
            self._followed[attempt].readers -= 1
            if not self._followed[attempt].readers:
                del self._followed[attempt]

    def _watch(self) -> None:
        asked = 0.0
        while followed := self._watched():
            for attempt, item in followed.items():
                if (state := _state(item.path)) != item.state:
                    item.state = state
                    self._wakeup.touch([_topic(attempt)])
            if time.monotonic() - asked > _ENDS:
                asked = time.monotonic()
                self._note_ends(followed)
            time.sleep(TICK)

    def _watched(self) -> dict[int, _Followed]:
        """Return what to look at; this thread ends when that is nothing."""
        with self._lock:
            if not self._followed:
                self._thread = None
            return dict(self._followed)

    def _note_ends(self, followed: Mapping[int, _Followed]) -> None:
        running = [attempt for attempt, item in followed.items() if item.end is None]
        try:
            ends = self._ends(running) if running else {}
        except Exception:  # the database is away: the readers stay, the next look may tell
            _log.exception("it is not known which attempts have ended")
            return
        for attempt, is_done in ends.items():
            followed[attempt].end = is_done
            self._wakeup.touch([_topic(attempt)])


def _topic(attempt: int) -> str:
    return f"log/{attempt}"


def _state(path: Path) -> tuple[int, int] | None:
    """Return what changes when a log is written to or packed."""
    try:
        found = path.stat()
    except OSError:  # packed, or not there yet
        return None
    return found.st_ino, found.st_size


def _next(followed: _Followed, position: _Position) -> _Event | None:
    """Return what follows a position; None when nothing does yet."""
    with followed.lock:
        if (known := followed.recent.get(position)) is not None:
            return known
        end = followed.end  # before the log is read: when it has ended, all of it is there
        with Log(followed.path) as log:
            if log.size > position.size:
                event = _grown(log, position.place)
            elif end is None:
                return None
            else:
                event = _Event(_message({"is_done": end}, "end"), position, is_last=True)
        followed.recent[position] = event
        if len(followed.recent) > _RECENT:
            followed.recent.popitem(last=False)
        return event


def _grown(log: Log, place: Place) -> _Event:
    begin = place
    if log.size - place.offset > _FAR:
        begin = log_lines.end_of(log, _LINES, _NEAR)
    lines, after = log_lines.read(log, begin, _LINES, _SIZE)
    data = {
        "skipped": [place.line, begin.line - 1] if begin.line > place.line else None,
        "lines": [[line.number, line.html] for line in lines],
        "size": log.size,
    }
    is_all = bool(lines) and lines[-1].number == after.line  # the last one has not ended yet
    position = _Position(after, log.size if is_all else after.offset)
    return _Event(_message(data, identity=f"{after.offset}-{after.line}"), position)


def _message(data: object, name: str = "", identity: str = "") -> bytes:
    fields = [("event", name), ("id", identity), ("data", json.dumps(data, separators=(",", ":")))]
    return "".join(f"{key}: {value}\n" for key, value in fields if value).encode() + b"\n"
