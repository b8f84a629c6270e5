# SPDX-License-Identifier: Apache-2.0
"""A year of 200 promises at one a minute, with a metric each: the size of the file, and the slowest of its queries.

A tenth of them (with ``--quick`` a fiftieth) is written by the code that keepers use, an hour in a batch; the others
are copies of their rows, so that queries meet the whole file. The size counts as that part times ten, or as the file's
own, whichever is more. All 105 million records would take most of an hour.
"""

import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from allotment_promises.history import FOLDER, NAME, History, Record, queries
from allotment_promises.measurement import Metric
from benchmarks.measure import Result, main

PROMISES = 200
DAYS = 365
_START = 1_800_000_000 // 604_800 * 604_800.0
_SIZE_GOAL = 50e6  # bytes
_TIME_GOAL = 0.05  # seconds
_ROUNDS = 5


def measure(quick: bool) -> Result:
    """Fill a history, look at its size, ask it."""
    count = PROMISES // (50 if quick else 10)
    now = [_START]
    with tempfile.TemporaryDirectory() as name, History(Path(name), lambda: now[0]) as history:
        file = Path(name) / FOLDER / NAME
        started = time.perf_counter()
        for batch in _batches(count):
            now[0] = batch[-1][1].time
            history.append_all(batch)
        filled = time.perf_counter() - started
        history.close()
        scaled = file.stat().st_size * PROMISES / count
        _copy(file, count)
        copied = file.stat().st_size
        size = max(scaled, copied)
        times = _times(history, now[0])
    slowest = max(times, key=lambda item: times[item])
    return Result(
        "HY",
        f"history: a year of {PROMISES} promises",
        round(size / 1e6, 1),
        None,
        "MB",
        f"<= {_SIZE_GOAL / 1e6:g} MB; each query <= {_TIME_GOAL * 1000:g} ms",
        size <= _SIZE_GOAL and times[slowest] <= _TIME_GOAL,
        {
            "query_ms": {item: round(seconds * 1000, 2) for item, seconds in times.items()},
            "slowest": slowest,
            "microseconds_a_record": round(filled / (count * DAYS * 1440) * 1e6, 1),
            "written": count,
            "copied_megabytes": round(copied / 1e6, 1),
        },
    )


def _batches(count: int) -> Iterator[list[tuple[str, Record]]]:
    """Yield an hour of records at a time: times that jitter, curves with noise, failures that last a while."""
    chance = random.Random(20261123)
    names = [f"promise-{number:03}" for number in range(count)]
    values = {name: chance.uniform(0.01, 1.0) for name in names}
    broken = dict.fromkeys(names, 0)
    for minute in range(0, DAYS * 1440, 60):
        batch = []
        for later in range(60):
            for name in names:
                broken[name] = broken[name] - 1 if broken[name] else chance.random() < 0.0002 and chance.randrange(60)
                values[name] = 0.99 * values[name] + 0.01 * chance.random()
                metrics = {"seconds": Metric(values[name] * chance.uniform(0.9, 1.1), "s")}
                time_ = _START + 60 * (minute + later) + chance.random() * 2
                message = f"127.0.0.1:{8000 + len(batch) % 9}: connection refused" if broken[name] else ""
                batch.append((name, Record(time_, chance.random() * 0.05, not broken[name], message, metrics)))
        yield batch


def _copy(file: Path, count: int) -> None:
    """Add copies of the promises that are there, until there are enough."""
    with closing(sqlite3.connect(file)) as database, database:
        columns = {
            "promises": "id + {by}, name || '-{by}', state, last, period, count, packed",
            "records": "promise + {by}, number, time, seconds, state, message, metrics",
            "chunks": "promise + {by}, number, start, until, data",
            "weeks": "promise + {by}, week, data",
            "streaks": "NULL, promise + {by}, start, until, state, before, message",
        }
        for by in range(count, PROMISES, count):
            for table, values in columns.items():
                key = "id" if table == "promises" else "promise"
                database.execute(
                    f"INSERT INTO {table} SELECT {values.format(by=by)} FROM {table} WHERE {key} <= {count}"
                )


def _times(history: History, now: float) -> Mapping[str, float]:
    """Return the median seconds of each query, the file opened anew each time."""
    name = history.names()[-1]
    day = 86400.0
    asked: Mapping[str, Callable[[], object]] = {
        "newest 20": lambda: history.newest(name, 20),
        "newest 1000": lambda: history.newest(name, 1000),
        "all promises": history.latest,
        "series of a day": lambda: history.series(name, "seconds", day),
        "series of a month": lambda: history.series(name, "seconds", 30 * day),
        "series of a year": lambda: history.series(name, "seconds", DAYS * day),
        "uptime of a year": lambda: queries.uptime(history, name, now - DAYS * day, now),
        "uptime of all, a year": lambda: queries.uptimes(history, now - DAYS * day, now),
        "flapping": lambda: queries.flapping(history, name),
        "broken since": lambda: queries.broken_since(history, name),
        "newest 100 changes": lambda: history.changes(100),
    }
    return {what: statistics.median(_seconds(history, ask) for _ in range(_ROUNDS)) for what, ask in asked.items()}


def _seconds(history: History, ask: Callable[[], object]) -> float:
    history.close()
    started = time.perf_counter()
    if ask() == []:
        raise RuntimeError("the history has no answer")
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main(measure))
