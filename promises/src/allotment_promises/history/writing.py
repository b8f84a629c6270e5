# SPDX-License-Identifier: Apache-2.0
"""What happens in the one transaction in which a batch is written: append, continue streaks, pack, expire."""

import json
import math
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from allotment_promises.history.packing import (
    HOUR,
    WEEK_HOURS,
    Hour,
    Row,
    count_rows,
    metrics_of,
    metrics_text,
    pack_hours,
    pack_rows,
    unpack_hours,
    week_of,
)
from allotment_promises.history.records import MESSAGE_LIMIT, Record
from allotment_promises.result import PromiseStatus

STATES: Final = (PromiseStatus.PASSED, PromiseStatus.FAILED, PromiseStatus.ERROR)  # in the file: their places here
RETENTION: Final = 366 * 86400.0  # seconds that counts by the hour, and streaks, are kept
CHUNK: Final = 60  # records
_RAW: Final = 2 * 86400.0  # seconds that records are kept one by one ...
_RAW_CHUNKS: Final = 100  # ... and not more chunks than these
_STREAKS: Final = 10_000  # of a promise; one that changes more often all year long keeps the newest
_TIME_LIMIT: Final = 1 << 53  # milliseconds
_VOUCHED: Final = 3  # periods after which a measurement says nothing any more
_PACKED_AT_ONCE: Final = 20  # chunks, and more in a large batch: all of a partition's are full at the same time


@dataclass
class _Known:
    """A row of ``promises``."""

    id: int
    state: int
    last: int
    period: int
    count: int
    packed: int


def stored(text: str) -> str:
    """Return a text as the file can have it: what is not Unicode, such as a command line may hold, is replaced."""
    return text.encode(errors="replace").decode()


@dataclass(frozen=True)
class Entry:
    """A record in the units of the file."""

    row: Row
    message: str  # for a streak that begins with it, that of a success too
    period: int  # milliseconds

    @classmethod
    def of(cls, record: Record) -> Self:
        """Return a record as it is written; a ValueError or OverflowError says that its times are none."""
        metrics = {(name, item.unit): item.value for name, item in record.metrics.items() if math.isfinite(item.value)}
        message = stored(record.message[:MESSAGE_LIMIT])
        state = STATES.index(record.state)
        row = Row(_milliseconds(record.time), round(record.seconds * 10_000), state, message if state else "", metrics)
        return cls(row, message, _milliseconds(record.period))


def append(database: sqlite3.Connection, entries: Sequence[tuple[str, Entry]], now: float) -> None:
    """Write records by their promises' names; the caller begins and ends the transaction."""
    known = _known(database, {name for name, _ in entries})
    appended = []
    for name, entry in entries:
        row = entry.row
        promise = known.get(name) or _begin(database, name)
        known[name] = promise
        appended.append(
            (promise.id, promise.count, row.time, row.seconds, row.state, row.message, metrics_text(row.metrics))
        )
        _continue(database, promise, entry)
    database.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?)", appended)
    left = _PACKED_AT_ONCE + 2 * len(appended) // CHUNK
    for promise in sorted(known.values(), key=lambda item: item.packed - item.count):
        while promise.count - promise.packed >= 2 * CHUNK and left > 0:
            _pack(database, promise)
            _expire(database, promise, now)
            left -= 1
    database.executemany(
        "UPDATE promises SET state = ?, last = ?, period = ?, count = ?, packed = ? WHERE id = ?",
        [(item.state, item.last, item.period, item.count, item.packed, item.id) for item in known.values()],
    )


def forget(database: sqlite3.Connection, ids: Iterable[int]) -> None:
    """Drop all of some promises."""
    for id in ids:
        for table in ("records", "chunks", "weeks", "streaks"):
            database.execute(f"DELETE FROM {table} WHERE promise = ?", (id,))
        database.execute("DELETE FROM promises WHERE id = ?", (id,))


def _known(database: sqlite3.Connection, names: Iterable[str]) -> dict[str, _Known]:
    sql = (
        "SELECT name, id, state, last, period, count, packed FROM promises "
        "WHERE name IN (SELECT value FROM json_each(?))"
    )
    return {name: _Known(*values) for name, *values in database.execute(sql, (json.dumps(list(names)),))}


def _milliseconds(seconds: float) -> int:
    found = round(seconds * 1000)
    if abs(found) > _TIME_LIMIT:
        raise OverflowError(f"{seconds:g} seconds are no time")
    return found


def _begin(database: sqlite3.Connection, name: str) -> _Known:
    id = database.execute(
        "INSERT INTO promises (name, state, last, period, count, packed) VALUES (?, 0, 0, 0, 0, 0)", (name,)
    ).lastrowid
    assert id is not None
    return _Known(id, 0, 0, 0, 0, 0)


def _continue(database: sqlite3.Connection, promise: _Known, entry: Entry) -> None:
    """Go on with the promise's streak, or begin another one."""
    row = entry.row
    is_first = promise.count == 0
    is_vouched = not is_first and 0 <= row.time - promise.last <= _VOUCHED * promise.period
    if not is_vouched or row.state != promise.state:
        database.execute(
            "UPDATE streaks SET until = ? WHERE promise = ? AND until IS NULL",
            (row.time if is_vouched else promise.last, promise.id),
        )
        before = None if is_first else promise.state
        database.execute(
            "INSERT INTO streaks (promise, start, state, before, message) VALUES (?, ?, ?, ?, ?)",
            (promise.id, row.time, row.state, before, entry.message),
        )
    promise.count += 1
    promise.state, promise.last, promise.period = row.state, row.time, entry.period


def _pack(database: sqlite3.Connection, promise: _Known) -> None:
    """Make the oldest single records a chunk, and count them by the hour."""
    until = promise.packed + CHUNK
    where = "WHERE promise = ? AND number < ?"
    rows = [
        Row(time, seconds, state, message, metrics_of(metrics))
        for time, seconds, state, message, metrics in database.execute(
            f"SELECT time, seconds, state, message, metrics FROM records {where} ORDER BY number", (promise.id, until)
        )
        if 0 <= state < len(STATES)
    ]
    if rows:
        times = [row.time for row in rows]
        database.execute(
            "INSERT OR REPLACE INTO chunks VALUES (?, ?, ?, ?, ?)",
            (promise.id, promise.packed, min(times), max(times), pack_rows(rows)),
        )
    for week in {week_of(row.time)[0] for row in rows}:
        stored = database.execute(
            "SELECT data FROM weeks WHERE promise = ? AND week = ?", (promise.id, week)
        ).fetchone()
        hours: dict[int, Hour] = unpack_hours(stored[0]) if stored else {}
        count_rows(hours, [row for row in rows if week_of(row.time)[0] == week])
        database.execute("INSERT OR REPLACE INTO weeks VALUES (?, ?, ?)", (promise.id, week, pack_hours(hours)))
    database.execute(f"DELETE FROM records {where}", (promise.id, until))
    promise.packed = until


def _expire(database: sqlite3.Connection, promise: _Known, now: float) -> None:
    """Drop what is too old; little at a time, so that a clock that is years ahead for an hour does little harm."""
    week = int((now - RETENTION) / HOUR / WEEK_HOURS)
    database.execute(
        "DELETE FROM chunks WHERE promise = ? AND number IN "
        "(SELECT number FROM chunks WHERE promise = ? AND until < ? ORDER BY number LIMIT 2)",
        (promise.id, promise.id, _milliseconds(now - _RAW)),
    )
    database.execute(
        "DELETE FROM chunks WHERE promise = ? AND number < ?", (promise.id, promise.packed - _RAW_CHUNKS * CHUNK)
    )
    database.execute(
        "DELETE FROM weeks WHERE promise = ? AND week = (SELECT min(week) FROM weeks WHERE promise = ? AND week < ?)",
        (promise.id, promise.id, week),
    )
    database.execute(
        "DELETE FROM streaks WHERE id IN "
        "(SELECT id FROM streaks WHERE promise = ? AND until < ? ORDER BY id LIMIT 100)",
        (promise.id, _milliseconds(now - RETENTION)),
    )
    database.execute(
        "DELETE FROM streaks WHERE promise = ? AND id <= "
        "(SELECT id FROM streaks WHERE promise = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
        (promise.id, promise.id, _STREAKS),
    )
