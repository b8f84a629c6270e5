# SPDX-License-Identifier: Apache-2.0
"""The history of one partition's promises: written by batches, read by the promises themselves and by commands."""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from allotment_promises.history import selecting, writing
from allotment_promises.history.file import ERRORS, HistoryFile
from allotment_promises.history.records import Latest, Point, Record, Streak, Uptime
from allotment_promises.measurement import Measurement

_T = TypeVar("_T")


class History:
    """The measurements of one partition's promises; for one thread of one process, to be closed at the end.

    Reading never makes a file: a partition without a history has empty answers. Every method may raise
    :class:`~allotment_promises.history.HistoryError`: no space, no permission, locked for ten seconds. A damaged or
    foreign file is set aside with a warning in the log, and the history begins anew. A process that forks closes its
    history first, or leaves it to the parent. Only a process of the partition's user may use it; see ``reader``.
    """

    def __init__(self, partition: Path, clock: Callable[[], float] = time.time) -> None:
        self._file = HistoryFile(partition)
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; the next call opens it again."""
        self._file.close()

    # Writing

    def append_all(self, records: Sequence[tuple[str, Record]]) -> None:
        """Write records by their promises' names, all or none; when this returns, a kill does not undo it."""
        rows = [(writing.stored(name), writing.Entry.of(record)) for name, record in records]
        self._write(lambda database: writing.append(database, rows, self._clock()))

    def prune(self, kept: Container[str]) -> None:
        """Drop all of the promises that are not among ``kept``."""

        def work(database: sqlite3.Connection) -> None:
            rows = database.execute("SELECT id, name FROM promises").fetchall()
            gone = [id for id, name in rows if name not in kept]
            if gone:
                with _transaction(database):
                    writing.forget(database, gone)

        self._read(work, None)

    # Records

    def newest(self, name: str, count: int) -> list[Record]:
        """Return up to ``count`` newest records of a promise, oldest first: in the order in which they were written."""
        return self._read(lambda database: selecting.newest(database, name, count), [])

    def measurements(self, name: str, count: int, over: float = 0.0) -> list[Measurement]:
        """Return up to ``count`` newest measurements, oldest first; runs without one are passed over.

        With ``over`` only those of the last ``over`` seconds. Messages are those of failures, and shortened.
        """
        oldest = self._clock() - over if over else float("-inf")
        records = [item for item in self.newest(name, 2 * count) if item.is_passed is not None and item.time >= oldest]
        return [
            Measurement(bool(item.is_passed), item.message, item.metrics, item.time)
            for item in (records[-count:] if count > 0 else [])
        ]

    def names(self) -> list[str]:
        """Return the names of all promises that have a history, in order."""
        return [item.name for item in self.latest()]

    def latest(self) -> list[Latest]:
        """Return the newest measurement of each promise, ordered by name."""
        return self._read(selecting.latest, [])

    # Curves

    def series(self, name: str, metric: str, seconds: float) -> list[tuple[float, float]]:
        """Return (UTC epoch, value) of a metric for the last ``seconds``, oldest first.

        Newer ones are single values; older than about two days they are means of an hour, at its middle.
        """
        now = self._clock()

        def work(database: sqlite3.Connection) -> list[tuple[float, float]]:
            old = selecting.hours(database, name, metric, now - seconds, now)
            means = [(item.time + item.seconds / 2, item.mean) for item in old]
            return means + selecting.values(database, name, metric, now - seconds, now)

        return self._read(work, [])

    def points(self, name: str, metric: str, since: float, until: float) -> list[Point]:
        """Return what is known of a metric from ``since`` to ``until`` (UTC epoch, seconds), in order of time."""

        def work(database: sqlite3.Connection) -> list[Point]:
            single = selecting.values(database, name, metric, since, until)
            old = selecting.hours(database, name, metric, since, until)
            return old + [Point(when, value, value, value) for when, value in single]

        return self._read(work, [])

    def metrics(self, name: str) -> dict[str, str]:
        """Return the names of the metrics in a promise's newest records, each with its unit."""
        found: dict[str, str] = {}
        for record in self.newest(name, 10):
            found.update({key: item.unit for key, item in record.metrics.items()})
        return found

    # Streaks

    def streaks(self, name: str, since: float = 0.0) -> list[Streak]:
        """Return the streaks of a promise that ended after ``since`` (UTC epoch, seconds), oldest first."""
        return self._read(lambda database: selecting.streaks(database, name, since), [])

    def changes(self, count: int = 100, since: float = 0.0) -> list[Streak]:
        """Return up to ``count`` newest changes of state of all promises since a UTC epoch, the newest first.

        A promise that passes from its first measurement on has not changed; one that does not, has.
        """
        return self._read(lambda database: selecting.changes(database, count, since), [])

    def uptimes(self, since: float, until: float, name: str | None = None) -> list[Uptime]:
        """Return the seconds of each state between two UTC epochs, of one promise or of all; see ``queries.uptime``."""
        return self._read(lambda database: selecting.uptimes(database, since, until, name), [])

    # How

    def _read(self, work: Callable[[sqlite3.Connection], _T], nothing: _T) -> _T:
        database = self._file.open(create=False)
        if database is None:
            return nothing
        try:
            return work(database)
        except ERRORS as error:
            self._file.failed(error)
            return nothing

    def _write(self, work: Callable[[sqlite3.Connection], None]) -> None:
        for is_last in (False, True):
            database = self._file.open(create=True)
            assert database is not None
            try:
                with _transaction(database):
                    work(database)
                return
            except ERRORS as error:
                self._file.failed(error)  # returns when it was damaged, and is out of the way now
                if is_last:
                    raise


@contextlib.contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # a full disk has rolled it back already
            database.execute("ROLLBACK")
        raise
