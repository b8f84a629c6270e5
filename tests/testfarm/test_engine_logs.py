# SPDX-License-Identifier: Apache-2.0
"""The log sink keeps each byte once, in its place, and packs it when the attempt has ended."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allotment.errors import RefusedError
from allotment_testfarm.engine.logs import Appended, LogSink
from allotment_testfarm.logs.reader import Log


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
    assert text_of(folder / "a.log") == log[:have]
    assert sink.seal("a.log") == have
    assert text_of(folder / "a.log") == log[:have]


def test_a_sealed_log_acknowledges_what_it_has_and_takes_no_more(tmp_path: Path) -> None:
    sink = LogSink(tmp_path)
    sink.append("a.log", 0, b"12345")
    assert sink.seal("a.log") == sink.seal("a.log") == 5
    assert sink.append("a.log", 2, b"345") == Appended(5)
    assert sink.append("a.log", 6, b"7") == Appended(5, is_gap=True)
    with pytest.raises(RefusedError) as caught:
        sink.append("a.log", 3, b"456")
    assert caught.value.status == 409
    assert text_of(tmp_path / "a.log") == b"12345"


def test_a_removed_log_is_gone_with_its_folder(tmp_path: Path) -> None:
    sink = LogSink(tmp_path)
    for log in ("7/1.log", "7/2.log"):
        sink.append(log, 0, b"text")
    sink.seal("7/1.log")
    sink.remove("7/1.log")
    assert [path.name for path in (tmp_path / "7").iterdir()] == ["2.log"]
    sink.remove("7/2.log")
    sink.remove("7/2.log")
    assert not (tmp_path / "7").exists()


def test_an_engine_that_closes_the_log_of_another_takes_nothing_from_it(tmp_path: Path) -> None:
    data = bytes(range(256)) * 2000

    def send(name: str) -> int:
        sink, have = LogSink(tmp_path), 0
        while have < len(data):
            try:
                have = sink.append(name, have, data[have : have + 3000]).acknowledged
            except RefusedError as error:
                assert error.status == 409
                break
        return have

    with ThreadPoolExecutor(2) as engines:
        for number in range(20):
            name = f"{number}/1.log"
            sending = engines.submit(send, name)
            other = LogSink(tmp_path)
            while not (sealed := other.seal(name)):
                pass
            have = sending.result()
            assert have <= sealed <= len(data)
            assert text_of(tmp_path / name) == data[:sealed]
            assert not (tmp_path / name).exists()


def test_a_log_that_is_told_closed_takes_no_more(tmp_path: Path) -> None:
    """Closing begins before the first byte is there: what it then answers is of a closed log, or 0."""
    with ThreadPoolExecutor(2) as engines:
        for number in range(300):
            name = f"{number}/1.log"
            (tmp_path / name).parent.mkdir()
            sending = engines.submit(LogSink(tmp_path).append, name, 0, b"first")
            while not LogSink(tmp_path).seal(name):
                pass
            assert sending.result().acknowledged == 5
            with pytest.raises(RefusedError, match="closed"):
                LogSink(tmp_path).append(name, 5, b"second")


def test_logs_that_share_a_lock_and_threads_that_share_a_log_lose_nothing(tmp_path: Path) -> None:
    sink = LogSink(tmp_path)
    log = bytes(range(256)) * 4096

    def send(name: str) -> None:
        have = 0
        while have < len(log):
            have = sink.append(name, have, log[have : have + 70_001]).acknowledged

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(send, ["a.log", "b.log", "c.log", "d.log"] * 2))
    for name in ("a.log", "b.log", "c.log", "d.log"):
        assert text_of(tmp_path / name) == log
        assert sink.seal(name) == len(log)
        assert text_of(tmp_path / name) == log


def text_of(path: Path) -> bytes:
    with Log(path) as log:
        return b"".join(log.blocks(0, log.size))
