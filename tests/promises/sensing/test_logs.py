# SPDX-License-Identifier: Apache-2.0
import bz2
import gzip
import lzma
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment_promises.sensing.log_times import LogTimes
from allotment_promises.sensing.logs import SIZE_LIMIT, LogLines, LogProblem

NOON = datetime(2026, 3, 1, 12, 30, 45, tzinfo=UTC).timestamp()
LOCAL = datetime(2026, 3, 1, 12, 30, 45).timestamp()


@pytest.mark.parametrize(
    ("line", "moment"),
    [
        ("2026-03-01T12:30:45Z started", NOON),
        ("2026-03-01T14:30:45.250+02:00 started", NOON + 0.25),
        ("INFO [worker] 2026-03-01 11:00:45 -0130 started", NOON),
        ("2026-03-01 12:30:45,500 INFO started", LOCAL + 0.5),
        ("2026/03/01 12:30:45 [error] 7#7: *1 open() failed", LOCAL),
        ('127.0.0.1 - - [01/Mar/2026:12:30:45 +0000] "GET / HTTP/1.1" 200 5', NOON),
        ("[Sun Mar 01 12:30:45.123456 2026] [core:error] [pid 7] no", LOCAL),
        ("Mar  1 12:30:45 host program[7]: started", LOCAL),
        ("<13>Mar  1 12:30:45 host program[7]: started", LOCAL),
        (f"{NOON:.0f}.5 started", NOON + 0.5),
        (f"[{NOON:.0f}] started", NOON),
        ("2026-13-41 12:30:45 no such day", None),
        ("Traceback (most recent call last):", None),
        ("x" * 300 + " 2026-03-01T12:30:45Z too far", None),
        ("", None),
    ],
)
def test_usual_forms_of_times_are_known(line: str, moment: float | None) -> None:
    assert LogTimes(LOCAL + 3600).find(line) == moment


def test_year_that_a_line_lacks_is_the_last_one_that_fits() -> None:
    times = LogTimes(datetime(2027, 1, 1, 0, 5).timestamp())
    assert times.find("Dec 31 23:59:00 host last: year") == datetime(2026, 12, 31, 23, 59).timestamp()
    assert times.find("Jan  1 00:01:00 host this: year") == datetime(2027, 1, 1, 0, 1).timestamp()
    leap = LogTimes(datetime(2029, 1, 1).timestamp())
    assert leap.find("Feb 29 00:00:00 host leap: year") == datetime(2028, 2, 29).timestamp()


@given(st.text(max_size=120) | st.from_regex(r"\[?\d{2,10}[-/ ]\w{2,3}[-/ ]\d{2,4}[T: ]\d\d:\d\d:\d\d( [+-]\d{4})?\]?"))
def test_any_line_has_a_time_or_none(line: str) -> None:
    assert isinstance(LogTimes(NOON).find(line), float | None)


def _stamp(ago: float) -> str:
    return datetime.fromtimestamp(time.time() - ago, UTC).isoformat()


@given(st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), max_size=30), st.booleans())
def test_lines_are_read_from_the_end(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], ends: bool) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    path.write_bytes(b"\n".join(lines) + (b"\n" if ends and lines else b""))
    expected = [line.decode("utf-8", "replace") for line in lines if line]
    assert list(LogLines(path, 0.0)) == expected[::-1]


def test_lines_over_many_blocks_are_whole(tmp_path: Path) -> None:
    lines = [f"{number} {'x' * (number % 300)}" for number in range(5000)]
    (tmp_path / "log").write_text("\n".join(lines) + "\n")
    assert list(LogLines(tmp_path / "log", 0.0)) == lines[::-1]
    (tmp_path / "log").write_text("start\n" + "y" * 1_000_000 + "\nend")
    assert list(LogLines(tmp_path / "log", 0.0)) == ["end", "y" * 8192, "start"]


def test_only_what_is_new_enough_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("w") as file:
        for number in range(200_000):
            file.write(f"{_stamp(7200)} old {number} {'x' * 100}\n")
        file.write(f"{_stamp(20)} recent\n  its second line\n{_stamp(10)} newest\n")
    lines = LogLines(path, time.time() - 60)
    assert [line.split(" ", 1)[1] for line in lines] == ["newest", " its second line", "recent"]
    assert lines._left > SIZE_LIMIT - (1 << 17)


def test_line_without_time_belongs_to_the_one_before_it(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(f"banner\n{_stamp(3600)} old\n  of the old\n{_stamp(5)} new\n  of the new\n")
    found = [line.strip().rpartition(" ")[2] for line in LogLines(tmp_path / "log", time.time() - 60)]
    assert found == ["new", "new"]


def test_lines_of_several_writers_may_be_out_of_order(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(f"{_stamp(40)} a\n{_stamp(70)} late\n{_stamp(30)} b\n")
    found = [line[-1] for line in LogLines(tmp_path / "log", time.time() - 60)]
    assert found == ["b", "a"]


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("log.1", bytes),
        ("log.1.gz", gzip.compress),
        ("log-20260301.xz", lzma.compress),
        ("log-20260301-1700000000.bz2", bz2.compress),
    ],
)
def test_rotated_file_is_read_on(tmp_path: Path, name: str, pack: Callable[[bytes], bytes]) -> None:
    (tmp_path / "log").write_text(f"  end of b\n{_stamp(5)} c\n")
    (tmp_path / name).write_bytes(pack(f"{_stamp(3600)} old\n{_stamp(30)} a\n{_stamp(20)} b\n".encode()))
    (tmp_path / "log.txt").write_text(f"{_stamp(1)} another\n")
    (tmp_path / "log.2.gz").write_bytes(b"too old to be read, and damaged")
    os.utime(tmp_path / "log.2.gz", (1, 1))
    assert [line[-1] for line in LogLines(tmp_path / "log", time.time() - 60)] == ["c", "b", "b", "a"]


def test_file_that_is_being_packed_counts_once(tmp_path: Path) -> None:
    (tmp_path / "log.1").write_text(f"{_stamp(20)} a\n")
    (tmp_path / "log.1.gz").write_bytes(b"\x1f\x8b half")
    assert [line[-1] for line in LogLines(tmp_path / "log", time.time() - 60)] == ["a"], "just rotated: no new one yet"
    os.link(tmp_path / "log.1", tmp_path / "log")
    assert [line[-1] for line in LogLines(tmp_path / "log", time.time() - 60)] == ["a"], "renamed while it was read"


WRITER = """
import logging, logging.handlers
handler = logging.handlers.RotatingFileHandler("log", maxBytes=5_000, backupCount=900)
handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
logger = logging.Logger("writer")
logger.addHandler(handler)
logger.info("-1")
print(flush=True)
for number in range(3_000):
    logger.info(number)
"""


def test_no_line_is_read_twice_while_a_process_writes_and_rotates(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER], cwd=tmp_path, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()  # the log is there
        while writer.poll() is None:
            found = [line.rpartition(" ")[2] for line in LogLines(tmp_path / "log", time.time() - 3600)]
            assert len(found) == len(set(found))
    found = [line.rpartition(" ")[2] for line in LogLines(tmp_path / "log", time.time() - 3600)]
    assert sorted(map(int, found)) == list(range(-1, 3_000))


def test_log_that_is_too_long_is_cut(tmp_path: Path) -> None:
    line = f"{_stamp(5)} {'x' * 1000}\n"
    with (tmp_path / "log").open("w") as file:
        for _ in range(40):
            file.write(line * 1000)
    lines = LogLines(tmp_path / "log", time.time() - 3600)
    count = sum(1 for _ in lines)
    assert lines.is_cut
    assert SIZE_LIMIT // len(line) - 70 < count <= SIZE_LIMIT // len(line)


def test_packed_log_that_is_too_long_is_cut(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    with gzip.open(tmp_path / "log.1.gz", "wt", compresslevel=1) as file:
        for _ in range(100):
            file.write(f"{_stamp(5)} {'x' * 500_000}\n")
    lines = LogLines(tmp_path / "log", time.time() - 3600)
    assert 60 <= sum(1 for _ in lines) <= 67
    assert lines.is_cut


def test_what_is_no_log_is_told(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("no time\nnone either\n")
    with pytest.raises(LogProblem, match="plain: no line says when it was written, expected ISO 8601"):
        list(LogLines(tmp_path / "plain", 1.0))
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(LogProblem, match="fifo is not a regular file"):
        list(LogLines(tmp_path / "fifo", 0.0))
    with pytest.raises(FileNotFoundError):
        list(LogLines(tmp_path / "gone", time.time() - 60))
    (tmp_path / "log").touch()
    assert list(LogLines(tmp_path / "log", time.time() - 60)) == []
    (tmp_path / "log.1.gz").write_bytes(gzip.compress(b"whole")[:-4])
    with pytest.raises(LogProblem, match=r"log\.1\.gz can't be unpacked: "):
        list(LogLines(tmp_path / "log", time.time() - 60))
