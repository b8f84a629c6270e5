# SPDX-License-Identifier: Apache-2.0
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment_promises.history.packing import (
    Hour,
    Row,
    Span,
    count_rows,
    metrics_of,
    metrics_text,
    pack_hours,
    pack_rows,
    unpack_hours,
    unpack_rows,
    unpack_spans,
    unpack_values,
    week_of,
)

_KEYS = st.tuples(st.text(max_size=5), st.text(max_size=3))
_VALUES = st.floats(allow_nan=False, allow_infinity=False)
_ROWS = st.builds(
    Row,
    st.integers(0, 1 << 42),
    st.integers(0, 1 << 30),
    st.integers(0, 2),
    st.text(max_size=20),
    st.dictionaries(_KEYS, _VALUES, max_size=3),
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)
_READERS: list[Callable[[bytes], Any]] = [
    unpack_rows,
    unpack_hours,
    lambda data: unpack_values(data, "load"),
    lambda data: unpack_spans(data, "load"),
]


@given(st.lists(_ROWS, max_size=10))
def test_rows_come_back_as_they_were(rows: list[Row]) -> None:
    assert unpack_rows(pack_rows(rows)) == rows
    for row in rows:
        assert metrics_of(metrics_text(row.metrics)) == row.metrics


@given(st.lists(_ROWS, max_size=10), st.text(max_size=5))
def test_values_are_those_of_the_rows(rows: list[Row], metric: str) -> None:
    found = sorted(unpack_values(pack_rows(rows), metric))
    assert found == sorted(
        (row.time, value) for row in rows for (name, _), value in row.metrics.items() if name == metric
    )


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=20))
def test_hours_keep_counts_and_the_range_of_values(values: list[float]) -> None:
    hours: dict[int, Hour] = {}
    count_rows(hours, [Row(number, 0, number % 3, "", {("load", "s"): item}) for number, item in enumerate(values)])
    (hour,) = unpack_hours(pack_hours(hours)).values()
    assert hour.counts == [len(values[state::3]) for state in range(3)]
    span = hour.metrics["load", "s"]
    assert span.count == len(values)
    assert span.low <= span.mean <= span.high
    assert span.low == pytest.approx(min(values), rel=1e-3)
    assert span.high == pytest.approx(max(values), rel=1e-3)
    assert unpack_spans(pack_hours(hours), "load") == [(week_of(0)[1], span)]


def test_what_is_constant_stays_exact() -> None:
    hours = {5: Hour([60, 0, 0], {("free", "B"): Span(60, 123456.0, 123456.0, 123456.0)})}
    assert unpack_hours(pack_hours(hours)) == hours


def test_metrics_that_ever_get_new_names_are_bounded() -> None:
    hours: dict[int, Hour] = {}
    count_rows(hours, [Row(0, 0, 0, "", {(f"metric-{number}", ""): 1.0}) for number in range(5000)])
    (hour,) = hours.values()
    assert (hour.counts, len(hour.metrics)) == ([5000, 0, 0], 100)


@given(_JSON)
def test_any_data_is_read_without_an_error(value: Any) -> None:
    data = zlib.compress(json.dumps(value).encode())
    for read in _READERS:
        read(data)
    metrics_of(json.dumps(value))


@given(st.lists(_JSON, min_size=5, max_size=5))
def test_any_columns_are_read_without_an_error(value: list[Any]) -> None:
    data = zlib.compress(json.dumps(value).encode())
    for read in _READERS:
        read(data)


@pytest.mark.parametrize("data", [b"", b"x", zlib.compress(b"[" * 100_000), zlib.compress(b"[1]")[:-2]])
@pytest.mark.parametrize("read", _READERS)
def test_broken_data_is_as_if_there_were_none(data: bytes, read: Callable[[bytes], Any]) -> None:
    assert not read(data)


@pytest.mark.parametrize("read", _READERS)
def test_data_that_grows_without_end_is_not_unpacked(read: Callable[[bytes], Any]) -> None:
    rows = [Row(number, 0, 0, "x" * 100, {}) for number in range(40_000)]
    assert not read(pack_rows(rows))
