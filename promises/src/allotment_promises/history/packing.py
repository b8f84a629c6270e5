# SPDX-License-Identifier: Apache-2.0
"""How the history is made small: records in chunks, and counts by the hour in weeks, both compressed JSON by columns.

Text in columns compresses as well as binary numbers do, and nothing in it can do harm: what can't be read is as if it
were not there.
"""

import json
import math
import zlib
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

HOUR: Final = 3600
WEEK_HOURS: Final = 168
_KEYS_LIMIT: Final = 100  # metrics of a promise in a week
_DATA_LIMIT: Final = 1 << 21  # bytes of a chunk or week, unpacked
_STATES: Final = "012"  # PASSED, FAILED, ERROR
PASSED, FAILED, ERROR = 0, 1, 2

# What reading data that somebody else wrote may raise.
_BROKEN: Final = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    RecursionError,
    OverflowError,
    zlib.error,
)

Key = tuple[str, str]  # a metric's name and unit


@dataclass(frozen=True)
class Row:
    """One record as it is stored."""

    time: int  # UTC epoch, milliseconds
    seconds: int  # tenths of milliseconds
    state: int
    message: str
    metrics: Mapping[Key, float]


@dataclass
class Span:
    """A metric within an hour."""

    count: int
    low: float
    mean: float
    high: float

    def add(self, value: float) -> None:
        """Count one more value."""
        self.count += 1
        self.low = min(self.low, value)
        self.high = max(self.high, value)
        self.mean += (value - self.mean) / self.count


@dataclass
class Hour:
    """All records of one hour."""

    counts: list[int] = field(default_factory=lambda: [0, 0, 0])  # passed, failed, error
    metrics: dict[Key, Span] = field(default_factory=dict)

    def add(self, row: Row, keys: Container[Key]) -> None:
        """Count one more record, and those of its metrics that are among ``keys``."""
        self.counts[row.state] += 1
        for key, value in row.metrics.items():
            if key in self.metrics:
                self.metrics[key].add(value)
            elif key in keys:
                self.metrics[key] = Span(1, value, value, value)


def metrics_text(metrics: Mapping[Key, float]) -> str:
    """Return metrics as a row of ``records`` has them."""
    return json.dumps([[name, unit, value] for (name, unit), value in metrics.items()]) if metrics else ""


def metrics_of(text: str) -> dict[Key, float]:
    """Return the metrics of such a text; none when it is broken."""
    try:
        return {(str(name), str(unit)): _number(value) for name, unit, value in json.loads(text)} if text else {}
    except (ValueError, TypeError, RecursionError):
        return {}


def pack_rows(rows: Sequence[Row]) -> bytes:
    """Return records as the data of a chunk."""
    keys = list(dict.fromkeys(key for row in rows for key in row.metrics))
    messages = {number: row.message for number, row in enumerate(rows) if row.message}
    return _pack(
        [
            _differences([row.time for row in rows]),
            [row.seconds for row in rows],
            "".join(_STATES[row.state] for row in rows),
            messages,
            [[*key, [row.metrics.get(key) for row in rows]] for key in keys],
        ]
    )


def unpack_rows(data: bytes) -> list[Row]:
    """Return the records of a chunk; none when it is broken."""
    try:
        differences, seconds, states, messages, columns = _unpack(data)
        times = _sums(differences)
        metrics: list[dict[Key, float]] = [{} for _ in times]
        for name, unit, values in columns:
            for number, value in enumerate(values):
                if value is not None:
                    metrics[number][str(name), str(unit)] = _number(value)
        return [
            Row(time, int(seconds[number]), _STATES.index(states[number]), str(messages.get(str(number), "")), found)
            for number, (time, found) in enumerate(zip(times, metrics, strict=True))
        ]
    except _BROKEN:
        return []


def unpack_values(data: bytes, metric: str) -> list[tuple[int, float]]:
    """Return only the times (milliseconds) and values of one metric in a chunk; none when it is broken."""
    try:
        differences, _, _, _, columns = _unpack(data)
        times = _sums(differences)
        return [
            (time, _number(value))
            for name, _, values in columns
            if name == metric
            for time, value in zip(times, values, strict=True)
            if value is not None
        ]
    except _BROKEN:
        return []


def pack_hours(hours: Mapping[int, Hour]) -> bytes:
    """Return counts by the hour, whose number is that within the week, as the data of a week."""
    numbers = sorted(hours)
    ordered = [hours[number] for number in numbers]
    columns = []
    for key in dict.fromkeys(key for hour in ordered for key in hour.metrics):
        spans = [hour.metrics.get(key) or Span(0, 0.0, 0.0, 0.0) for hour in ordered]
        means = [_short(span.mean, 6) for span in spans]
        # What is constant has no range, which 4 digits would give it.
        low = [_short(span.low, 4) if span.low < span.high else None for span in spans]
        high = [_short(span.high, 4) if span.low < span.high else None for span in spans]
        columns.append([*key, [span.count for span in spans], low, means, high])
    counts = [[hour.counts[state] for hour in ordered] for state in (PASSED, FAILED, ERROR)]
    return _pack([_differences(numbers), *counts, columns])


def unpack_hours(data: bytes) -> dict[int, Hour]:
    """Return the counts of a week by the hour; none when it is broken."""
    try:
        differences, passed, failed, errors, columns = _unpack(data)
        numbers = _hours(differences)
        hours = [Hour([int(count) for count in counts]) for counts in zip(passed, failed, errors, strict=True)]
        for name, unit, *values in columns:
            for hour, span in zip(hours, _spans(values), strict=True):
                if span.count:
                    hour.metrics[str(name), str(unit)] = span
        return dict(zip(numbers, hours, strict=True))
    except _BROKEN:
        return {}


def unpack_spans(data: bytes, metric: str) -> list[tuple[int, Span]]:
    """Return only the hours of a week in which there is one metric; none when it is broken."""
    try:
        differences, _, _, _, columns = _unpack(data)
        numbers = _hours(differences)
        return [
            (number, span)
            for name, _, *values in columns
            if name == metric
            for number, span in zip(numbers, _spans(values), strict=True)
            if span.count
        ]
    except _BROKEN:
        return []


def count_rows(hours: dict[int, Hour], rows: Iterable[Row]) -> None:
    """Count records of one week in its hours; of metrics that ever get new names only the first are counted."""
    keys = dict.fromkeys(key for hour in hours.values() for key in hour.metrics)
    for row in rows:
        for key in row.metrics:
            if len(keys) < _KEYS_LIMIT:
                keys[key] = None
        hours.setdefault(week_of(row.time)[1], Hour()).add(row, keys)


def week_of(time: int) -> tuple[int, int]:
    """Return the number of the week, counted from the epoch, and that of the hour in it, of a time in milliseconds."""
    return divmod(time // 1000 // HOUR, WEEK_HOURS)


def _pack(data: object) -> bytes:
    return zlib.compress(json.dumps(data, separators=(",", ":"), allow_nan=False).encode(), 9)


def _unpack(data: bytes) -> Any:
    stream = zlib.decompressobj()
    text = stream.decompress(data, _DATA_LIMIT)
    return json.loads(text) if stream.eof else None


def _differences(numbers: Sequence[int]) -> list[int]:
    return [number - before for before, number in zip([0, *numbers], numbers, strict=False)]


def _sums(differences: Sequence[Any]) -> list[int]:
    found, total = [], 0
    for difference in differences:
        total += int(difference)
        found.append(total)
    return found


def _hours(differences: Sequence[Any]) -> list[int]:
    numbers = _sums(differences)
    if not all(0 <= number < WEEK_HOURS for number in numbers):
        raise ValueError("no hour of a week")
    return numbers


def _spans(values: Sequence[Sequence[Any]]) -> list[Span]:
    return [
        Span(
            int(count),
            min(_number(mean if low is None else low), mean),
            _number(mean),
            max(_number(mean if high is None else high), mean),
        )
        for count, low, mean, high in zip(*values, strict=True)
    ]


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not a number")
    return number


def _short(value: float, digits: int) -> float:
    """Round: a curve of a year needs no more than six digits, and its range no more than four."""
    return float(f"{value:.{digits}g}")
