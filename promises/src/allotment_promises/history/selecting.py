# SPDX-License-Identifier: Apache-2.0
"""What is asked of the file: functions of an open database, that return the history's own types."""

import sqlite3
from typing import Final

from allotment_promises.history.packing import (
    HOUR,
    WEEK_HOURS,
    Row,
    metrics_of,
    unpack_rows,
    unpack_spans,
    unpack_values,
    week_of,
)
from allotment_promises.history.records import Latest, Point, Record, Streak, Uptime
from allotment_promises.history.writing import CHUNK, STATES, stored
from allotment_promises.measurement import Metric
from allotment_promises.result import PromiseStatus

_MOST: Final = 1_000_000  # records or changes that are asked for at once
_FAR: Final = float(1 << 53)  # milliseconds
Value = tuple[float, float]  # UTC epoch in seconds, value
_RECORDS: Final = "SELECT time, seconds, state, message, metrics FROM records"
_STREAKS: Final = (
    "SELECT p.name, s.state, s.start, coalesce(s.until, p.last), s.message, s.before "
    "FROM streaks s JOIN promises p ON p.id = s.promise"
)


def newest(database: sqlite3.Connection, name: str, count: int) -> list[Record]:
    """Return the newest records, oldest first."""
    found = database.execute("SELECT id, period FROM promises WHERE name = ?", (stored(name),)).fetchone()
    if found is None or count <= 0:
        return []
    promise, period = found
    count = min(count, _MOST)
    sql = f"{_RECORDS} WHERE promise = ? ORDER BY number DESC LIMIT ?"
    rows = [_row(*row) for row in database.execute(sql, (promise, count))][::-1]
    if len(rows) < count:
        chunks = database.execute(
            "SELECT data FROM chunks WHERE promise = ? ORDER BY number DESC LIMIT ?",
            (promise, (count - len(rows)) // CHUNK + 2),
        ).fetchall()
        rows = [row for (data,) in reversed(chunks) for row in unpack_rows(data)] + rows
    return [_record(row, period) for row in rows[-count:]]


def latest(database: sqlite3.Connection) -> list[Latest]:
    """Return the newest measurement of each promise, ordered by name."""
    rows = database.execute("SELECT name, state, last, period, count FROM promises ORDER BY name")
    return [Latest(name, _state(state), last / 1000, period / 1000, count) for name, state, last, period, count in rows]


def values(database: sqlite3.Connection, name: str, metric: str, since: float, until: float) -> list[Value]:
    """Return a metric's (time, value) as far as records are there one by one, in order of time."""
    promise = _id(database, name)
    between = (promise, _milliseconds(since), _milliseconds(until))
    sql = "SELECT data FROM chunks WHERE promise = ? AND until >= ? AND start <= ? ORDER BY number"
    packed = [item for (data,) in database.execute(sql, between) for item in unpack_values(data, metric)]
    sql = "SELECT time, metrics FROM records WHERE promise = ? AND time BETWEEN ? AND ? ORDER BY number"
    for time, text in database.execute(sql, between):
        packed += [(time, value) for (key, _), value in metrics_of(text).items() if key == metric]
    return sorted((time / 1000, value) for time, value in packed if between[1] <= time <= between[2])


def hours(database: sqlite3.Connection, name: str, metric: str, since: float, until: float) -> list[Point]:
    """Return a metric's hours as far as records are not there one by one any more, in order of time."""
    promise = _id(database, name)
    sql = "SELECT start FROM chunks WHERE promise = ? ORDER BY number LIMIT 1"
    oldest = database.execute(sql, (promise,)).fetchone()
    end = until if oldest is None else min(until, oldest[0] / 1000 - HOUR)
    sql = "SELECT week, data FROM weeks WHERE promise = ? AND week BETWEEN ? AND ? ORDER BY week"
    between = (promise, week_of(_milliseconds(since))[0], week_of(_milliseconds(end))[0])
    return [
        Point(start, span.low, span.mean, span.high, span.count, HOUR)
        for week, data in database.execute(sql, between)
        for number, span in unpack_spans(data, metric)
        if since <= (start := float((week * WEEK_HOURS + number) * HOUR)) <= end
    ]


def streaks(database: sqlite3.Connection, name: str, since: float) -> list[Streak]:
    """Return a promise's streaks, oldest first."""
    sql = f"{_STREAKS} WHERE p.name = ? AND coalesce(s.until, p.last) >= ? ORDER BY s.id"
    return [_streak(*row) for row in database.execute(sql, (stored(name), _milliseconds(since)))]


def changes(database: sqlite3.Connection, count: int, since: float) -> list[Streak]:
    """Return the streaks that began with another state, the newest first."""
    sql = f"{_STREAKS} WHERE s.state != coalesce(s.before, 0) AND s.start >= ? ORDER BY s.id DESC LIMIT ?"
    return [_streak(*row) for row in database.execute(sql, (_milliseconds(since), min(count, _MOST)))]


def uptimes(database: sqlite3.Connection, since: float, until: float, name: str | None) -> list[Uptime]:
    """Return the seconds of each state within a period, of one promise or of all, ordered by name."""
    sql = (
        "SELECT p.name, s.state, sum(max(min(coalesce(s.until, p.last), ?2) - max(s.start, ?1), 0)) "
        "FROM promises p LEFT JOIN streaks s ON s.promise = p.id "
        f"{'WHERE p.name = ?3' if name is not None else ''} GROUP BY p.id, s.state ORDER BY p.name"
    )
    between = (_milliseconds(since), _milliseconds(until))
    values = between if name is None else (*between, stored(name))
    found: dict[str, dict[str, float]] = {}
    for promise, state, milliseconds in database.execute(sql, values):
        seconds = found.setdefault(promise, {})
        if state is not None:
            seconds[_state(state).value] = (milliseconds or 0) / 1000
    return [Uptime(promise, **seconds) for promise, seconds in found.items()]


def _milliseconds(seconds: float) -> int:
    """Return a time as the file has it; what is no number, or beyond all times, is the nearest that is one."""
    return int(min(_FAR, max(-_FAR, seconds * 1000)))


def _id(database: sqlite3.Connection, name: str) -> int:
    row = database.execute("SELECT id FROM promises WHERE name = ?", (stored(name),)).fetchone()
    return int(row[0]) if row else -1


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
