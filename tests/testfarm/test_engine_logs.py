# SPDX-License-Identifier: Apache-2.0
"""The log sink keeps each byte once, in its place."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allotment.errors import RefusedError
from allotment_testfarm.engine.logs import Appended, LogSink


def test_bytes_at_a_known_offset_are_acknowledged_and_not_stored_twice(tmp_path: Path) -> None:
    sink = LogSink(tmp_path)
    assert sink.append("logs/1/1.log", 0, b"hello ") == Appended(6)
    assert sink.append("logs/1/1.log", 0, b"hello ") == Appended(6)
    assert sink.append("logs/1/1.log", 3, b"lo world") == Appended(11)
    assert sink.append("logs/1/1.log", 2, b"l") == Appended(11)
    assert (tmp_path / "logs/1/1.log").read_bytes() == b"hello world"


def test_a_gap_stores_nothing_and_says_where_to_go_on(tmp_path: Path) -> None:
    sink = LogSink(tmp_path)
    sink.append("a.log", 0, b"123")
    assert sink.append("a.log", 5, b"678") == Appended(3, is_gap=True)
    assert (tmp_path / "a.log").read_bytes() == b"123"


def test_a_log_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    sink = LogSink(tmp_path, limit=5)
    sink.append("a.log", 0, b"123")
    with pytest.raises(RefusedError) as caught:
        sink.append("a.log", 3, b"456")
    assert caught.value.status == 413
    assert sink.seal("a.log") == 3


def test_a_log_that_was_never_sent_has_no_bytes(tmp_path: Path) -> None:
    assert LogSink(tmp_path).seal("none.log") == 0


@settings(max_examples=50)
@given(st.binary(max_size=200), st.lists(st.tuples(st.integers(0, 220), st.integers(1, 50)), max_size=30))
def test_any_order_of_repeats_and_gaps_gives_a_prefix_of_the_log(
    tmp_path_factory: pytest.TempPathFactory, log: bytes, pieces: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("logs")
    sink = LogSink(folder)
    have = sink.append("a.log", 0, b"").acknowledged
    for offset, length in pieces:
        answer = sink.append("a.log", min(offset, len(log)), log[offset : offset + length])
        assert answer.acknowledged >= have
        have = answer.acknowledged
    assert (folder / "a.log").read_bytes() == log[:have]
