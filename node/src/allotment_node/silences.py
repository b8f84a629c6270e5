# SPDX-License-Identifier: Apache-2.0
"""Silences of promises: made and ended by operators, looked up by the agent, in one file of the node's own."""

import fcntl
import fnmatch
import getpass
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from allotment import atomic
from allotment.atomic import read_limited
from allotment.codec import dumps, loads
from allotment.errors import AllotmentError
from allotment.messages.silences import Silence
from allotment.messages.silences import Silences as SilencesFile

_COUNT_LIMIT: Final = 1000
_TEXT_LIMIT: Final = 500  # characters of a pattern, an author or a reason
_LONGEST: Final = 366 * 86400.0  # seconds
_FILE_LIMIT: Final = 1 << 23  # bytes
_log = logging.getLogger(__name__)


class Silences:
    """The silences of a node, ``NodeFolder.silences``; any number of processes and threads may use the file at once.

    A promise that is silenced is run and recorded as ever; but it makes no instance red, asks for no processing, and
    is shown as silenced. The file is whole or not there, and only the node's user can write it.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._stamp: object = None
        self._seen: tuple[Silence, ...] = ()

    def add(self, promise: str, reason: str, until: float, author: str = "") -> Silence:
        """Silence promises until a UTC epoch in seconds; return the silence, which may be ended by its id.

        ``promise`` is a name or ``partition/name``, with ``*`` and ``?`` as in a shell; the author is by default who
        runs this. Raises an error for a missing reason, for an end that is past or more than a year away.
        """
        now = self._clock()
        silence = Silence(secrets.token_hex(4), promise, author or _user(), reason.strip(), now, until)
        _check(silence)
        with self._changing() as silences:
            if len(silences) >= _COUNT_LIMIT:
                raise AllotmentError(f"{self._path} has {_COUNT_LIMIT} silences", "End some, or silence by a pattern")
            silences.append(silence)
        return silence

    def end(self, which: str) -> list[Silence]:
        """End the silence of this id, or all that were made for exactly this promise or pattern; return them."""
        now = self._clock()
        with self._changing() as silences:
            ended = [item for item in silences if which in (item.id, item.promise)]
            if not ended:
                known = ", ".join(f"{item.id} ({item.promise})" for item in silences) or "there is none"
                raise AllotmentError(f"no silence is called '{which}'", f"Name one of: {known}")
            silences[:] = [item for item in silences if item not in ended]
        return [replace(item, until=min(item.until, now)) for item in ended]

    def active(self) -> list[Silence]:
        """Return the silences that hold now, the one that ends first first; raises an error for a broken file."""
        return sorted(self._active(self._read()), key=lambda item: item.until)

    def known(self) -> list[Silence]:
        """Return the silences that hold now, for the agent: the file is read only when it has changed.

        A broken file silences nothing, and the log says so once.
        """
        return self._active(self._current())

    def find(self, partition: str, promise: str) -> Silence | None:
        """Return the silence of a promise that ends last, None when there is none; see :meth:`known`."""
        return silence_of(self.known(), partition, promise)

    def told(self, partition: str, promise: str) -> str:
        """Return who silenced a promise, and why; empty when nobody did."""
        found = self.find(partition, promise)
        return f"{found.author}: {found.reason}" if found is not None else ""

    def _active(self, silences: Iterable[Silence]) -> list[Silence]:
        now = self._clock()
        return [item for item in silences if item.start <= now < item.until]

    def _current(self) -> tuple[Silence, ...]:
        """Return the silences as of the file's last change."""
        stamp = _stamp(self._path)
        if stamp != self._stamp:
            try:
                self._seen = self._read()
            except AllotmentError as error:
                _log.error("%s Until then no promise is silenced.", error)
                self._seen = ()
            self._stamp = stamp
        return self._seen

    def _read(self) -> tuple[Silence, ...]:
        data = read_limited(self._path, _FILE_LIMIT)
        return loads(SilencesFile, data, str(self._path)).silences if data is not None else ()

    @contextmanager
    def _changing(self) -> Iterator[list[Silence]]:
        """Let nobody else change the file meanwhile; what is over is left out."""
        handle = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            now = self._clock()
            silences = [item for item in self._read() if item.until > now]
            yield silences
            atomic.write_bytes(self._path, dumps(SilencesFile(tuple(silences))), 0o600)
        finally:
            os.close(handle)


def matches(pattern: str, partition: str, promise: str) -> bool:
    """Whether a pattern, ``name`` or ``partition/name`` with ``*`` and ``?``, means a promise of a partition."""
    return fnmatch.fnmatchcase(f"{partition}/{promise}" if "/" in pattern else promise, pattern)


def silence_of(silences: Iterable[Silence], partition: str, promise: str) -> Silence | None:
    """Return the one of ``silences`` that silences a promise longest; None when there is none."""
    found = [item for item in silences if matches(item.promise, partition, promise)]
    return max(found, key=lambda item: item.until, default=None)


def _check(silence: Silence) -> None:
    for what, text in (("promise", silence.promise), ("author", silence.author), ("reason", silence.reason)):
        if not text:
            raise AllotmentError(f"the silence has no {what}", f"Give its {what}")
        if len(text) > _TEXT_LIMIT or not text.isprintable():
            raise AllotmentError(f"the {what} is no line of at most {_TEXT_LIMIT} characters", "Write it shorter")
    if not silence.start < silence.until <= silence.start + _LONGEST:
        raise AllotmentError("the silence does not end within a year from now", "Give an end in the future")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name
        return f"user {os.getuid()}"


def _stamp(path: Path) -> object:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
