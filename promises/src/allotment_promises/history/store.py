# SPDX-License-Identifier: Apache-2.0
"""The history of one partition's promises: written by batches, read by the promises themselves and by commands."""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from allotment_promises.history import writing
from allotment_promises.history.file import HistoryFile
from allotment_promises.history.packing import HOUR, WEEK_HOURS, Row, metrics_of, unpack_hours, unpack_rows, week_of
from allotment_promises.history.records import Record, Streak
from allotment_promises.history.writing import CHUNK, STATES
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.result import PromiseStatus

_T = TypeVar("_T")


@dataclass(frozen=True)
class Point:
    """A metric at one time (then the three values are one), or within the hour that begins there."""

    time: float  # UTC epoch, seconds
    low: float
    mean: float
    high: float
    is_hour: bool = False


@dataclass(frozen=True)
class Latest:
    """The newest measurement of a promise, in short."""

    name: str
    state: PromiseStatus  # of the measurement by itself
    time: float  # UTC epoch, seconds
    period: float  # seconds
    count: int  # measurements so far


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
        self._write(lambda database: writing.append(database, records, self._clock()))

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
        return self._read(lambda database: [_record(*item) for item in _newest(database, name, count)], [])

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

        def work(database: sqlite3.Connection) -> list[Latest]:
            rows = database.execute("SELECT name, state, last, period, count FROM promises ORDER BY name")
            return [
                Latest(name, _state(state), last / 1000, period / 1000, count)
                for name, state, last, period, count in rows
            ]

        return self._read(work, [])

    # Curves

    def series(self, name: str, metric: str, seconds: float) -> list[tuple[float, float]]:
        """Return (UTC epoch, value) of a metric for the last ``seconds``, oldest first.

        Newer ones are single values; older than about two days they are means of an hour, at its middle.
        """
        now = self._clock()
        points = self.points(name, metric, now - seconds, now)
        return [(item.time + (HOUR / 2 if item.is_hour else 0), item.mean) for item in points]

    def points(self, name: str, metric: str, since: float, until: float) -> list[Point]:
        """Return what is known of a metric from ``since`` to ``until`` (UTC epoch, seconds), in order of time."""

        def work(database: sqlite3.Connection) -> list[Point]:
            promise = _promise(database, name)
            if promise is None:
                return []
            rows = _rows_between(database, promise, int(since * 1000), int(until * 1000))
            single = [
                Point(row.time / 1000, value, value, value)
                for row in rows
                for (key, _), value in row.metrics.items()
                if key == metric
            ]
            single.sort(key=lambda item: item.time)
            start = _raw_start(database, promise)
            hours = _hours_between(database, promise, metric, since, until)
            return [item for item in hours if start is None or item.time + HOUR <= start] + single

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
        sql = f"{_STREAKS} WHERE p.name = ? AND coalesce(s.until, p.last) >= ? ORDER BY s.id"
        return self._read(lambda database: [_streak(*row) for row in database.execute(sql, (name, since * 1000))], [])

    def changes(self, count: int = 100, since: float = 0.0) -> list[Streak]:
        """Return up to ``count`` newest changes of state of all promises since a UTC epoch, the newest first.

        A promise that passes from its first measurement on has not changed; one that does not, has.
        """
        sql = f"{_STREAKS} WHERE s.state != coalesce(s.before, 0) AND s.start >= ? ORDER BY s.id DESC LIMIT ?"
        values = (since * 1000, count)
        return self._read(lambda database: [_streak(*row) for row in database.execute(sql, values)], [])

    # How

    def _read(self, work: Callable[[sqlite3.Connection], _T], nothing: _T) -> _T:
        database = self._file.open(create=False)
        if database is None:
            return nothing
        try:
            return work(database)
        except sqlite3.Error as error:
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
            except sqlite3.Error as error:
                self._file.failed(error)  # returns when it was damaged, and is out of the way now
                if is_last:
                    raise


_STREAKS = (
    "SELECT p.name, s.state, s.start, coalesce(s.until, p.last), s.message, s.before "
    "FROM streaks s JOIN promises p ON p.id = s.promise"
)


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


def _promise(database: sqlite3.Connection, name: str) -> int | None:
    row = database.execute("SELECT id FROM promises WHERE name = ?", (name,)).fetchone()
    return int(row[0]) if row else None


def _newest(database: sqlite3.Connection, name: str, count: int) -> list[tuple[Row, int]]:
    """Return rows with the promise's period, oldest first."""
    found = database.execute("SELECT id, period FROM promises WHERE name = ?", (name,)).fetchone()
    if found is None or count <= 0:
        return []
    promise, period = found
    sql = f"{_RECORDS} WHERE promise = ? ORDER BY number DESC LIMIT ?"
    rows = [_row(*row) for row in database.execute(sql, (promise, count))][::-1]
    if len(rows) < count:
        chunks = database.execute(
            "SELECT data FROM chunks WHERE promise = ? ORDER BY number DESC LIMIT ?",
            (promise, (count - len(rows)) // CHUNK + 2),
        ).fetchall()
        rows = [row for (data,) in reversed(chunks) for row in unpack_rows(data)] + rows
    return [(row, period) for row in rows[-count:]]


_RECORDS = "SELECT time, seconds, state, message, metrics FROM records"


def _rows_between(database: sqlite3.Connection, promise: int, since: int, until: int) -> list[Row]:
    """Return the rows that are still there one by one."""
    chunks = database.execute(
        "SELECT data FROM chunks WHERE promise = ? AND until >= ? AND start <= ? ORDER BY number",
        (promise, since, until),
    )
    rows = [row for (data,) in chunks for row in unpack_rows(data) if since <= row.time <= until]
    sql = f"{_RECORDS} WHERE promise = ? AND time BETWEEN ? AND ? ORDER BY number"
    return rows + [_row(*row) for row in database.execute(sql, (promise, since, until))]


def _raw_start(database: sqlite3.Connection, promise: int) -> float | None:
    """Return the time from which on all rows are there one by one."""
    sql = "SELECT start FROM chunks WHERE promise = ? ORDER BY number LIMIT 1"
    found = database.execute(sql, (promise,)).fetchone()
    return found[0] / 1000 if found else None


def _hours_between(
    database: sqlite3.Connection, promise: int, metric: str, since: float, until: float
) -> Iterator[Point]:
    first, last = week_of(int(since * 1000))[0], week_of(int(until * 1000))[0]
    sql = "SELECT week, data FROM weeks WHERE promise = ? AND week BETWEEN ? AND ? ORDER BY week"
    for week, data in database.execute(sql, (promise, first, last)):
        for number, hour in unpack_hours(data).items():
            start = float((week * WEEK_HOURS + number) * HOUR)
            if since <= start <= until:
                for (key, _), span in hour.metrics.items():
                    if key == metric:
                        yield Point(start, span.low, span.mean, span.high, is_hour=True)


def _row(time: int, seconds: int, state: int, message: str, metrics: str) -> Row:
    return Row(time, seconds, state, message, metrics_of(metrics))


def _record(row: Row, period: int) -> Record:
    metrics = {name: Metric(value, unit) for (name, unit), value in row.metrics.items()}
    is_passed = {PromiseStatus.PASSED: True, PromiseStatus.FAILED: False}.get(_state(row.state))
    return Record(row.time / 1000, row.seconds / 10_000, is_passed, row.message, metrics, period / 1000)


def _state(number: int) -> PromiseStatus:
    return STATES[number] if 0 <= number < len(STATES) else PromiseStatus.ERROR


def _streak(name: str, state: int, start: int, until: int, message: str, before: int | None) -> Streak:
    state_before = None if before is None else _state(before)
    return Streak(name, _state(state), start / 1000, until / 1000, message, state_before)
