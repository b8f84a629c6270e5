# SPDX-License-Identifier: Apache-2.0
"""A log survives whatever happens to its writer and its disk, and reads the same before, during and after packing."""

import random
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allotment_testfarm.logs import index
from allotment_testfarm.logs.frames import STRETCH
from allotment_testfarm.logs.index import START, Mark
from allotment_testfarm.logs.reader import Log
from allotment_testfarm.logs.store import StoredLog, index_path, packed_path

LINES = b"".join(b"line %d of a log that is long enough to be packed\n" % number for number in range(1, 40_001))


def text_of(path: Path) -> bytes:
    with Log(path) as log:
        return b"".join(log.blocks(0, log.size))


def stored(path: Path, data: bytes, stretch: int = 100) -> StoredLog:
    log = StoredLog(path, stretch)
    log.append(memoryview(data))
    log.pack()
    return log


def files(path: Path) -> list[str]:
    return sorted(item.name for item in path.parent.iterdir())


def test_full_stretches_are_packed_while_it_is_written_and_the_rest_when_it_is_sealed(tmp_path: Path) -> None:
    path = tmp_path / "1.log"
    log = stored(path, LINES, STRETCH)
    marks = index.read(index_path(path))
    assert [mark.offset for mark in marks] == list(range(0, len(LINES), STRETCH))
    assert all(mark.lines == LINES[: mark.offset].count(b"\n") for mark in marks)
    assert (text_of(path), log.is_sealed) == (LINES, False)
    log.seal()
    assert files(path) == ["1.log.idx", "1.log.zst"]
    assert (text_of(path), log.is_sealed, log.size()) == (LINES, True, len(LINES))
    log.seal()
    assert text_of(path) == LINES


@pytest.mark.skipif(shutil.which("zstdcat") is None, reason="needs zstdcat")
def test_the_packed_file_is_one_that_zstdcat_prints(tmp_path: Path) -> None:
    path = tmp_path / "1.log"
    stored(path, LINES, STRETCH).seal()
    assert subprocess.run(["zstdcat", packed_path(path)], check=True, capture_output=True).stdout == LINES


def test_an_empty_log_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "1.log"
    stored(path, b"").seal()
    StoredLog(tmp_path / "2.log").seal()
    assert files(path) == []
    assert StoredLog(path).size() == 0


@pytest.mark.parametrize("lost", [1, 23, 24, 25, 48, 10_000])
def test_an_index_that_was_torn_is_written_anew(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "1.log"
    log = stored(path, LINES[:1050])
    marks = index_path(path).read_bytes()
    index_path(path).write_bytes(marks[: max(len(marks) - lost, 0)])
    assert text_of(path) == LINES[:1050]
    log.append(memoryview(LINES[1050:1500]))
    log.seal()
    assert text_of(path) == LINES[:1500]


@pytest.mark.parametrize("damage", ["frame", "packed", "mark", "gone", "more", "zeros"])
def test_whatever_happened_to_the_frames_the_plain_text_is_packed_right(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "1.log"
    log = stored(path, LINES[:1050])
    packed, marks = packed_path(path).read_bytes(), index.read(index_path(path))
    if damage == "frame":
        packed_path(path).write_bytes(packed[: marks[3].place + 9] + b"?" + packed[marks[3].place + 10 :])
    elif damage == "packed":
        packed_path(path).write_bytes(packed[: marks[7].place + 5])
    elif damage == "mark":
        index.add(index_path(path), 3, Mark(marks[3].offset, marks[3].lines + 1, marks[3].place))
    elif damage == "gone":
        packed_path(path).unlink()
    elif damage == "more":
        packed_path(path).write_bytes(packed + b"half a frame")
    else:
        packed_path(path).write_bytes(bytes(len(packed)))
    assert text_of(path) == LINES[:1050]
    log.seal()
    assert text_of(path) == LINES[:1050]
    assert all(mark.lines == LINES[: mark.offset].count(b"\n") for mark in index.read(index_path(path)))


def test_marks_of_bytes_that_a_power_cut_took_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "1.log"
    log = stored(path, LINES[:1050])
    with path.open("r+b") as file:
        file.truncate(444)
    assert text_of(path) == LINES[:444]
    log.append(memoryview(LINES[444:2000]))
    log.pack()
    log.seal()
    assert text_of(path) == LINES[:2000]


def test_an_index_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "1.log.idx"
    index.add(path, 1, Mark(1, 2, 3))
    assert index.read(path) == [START, Mark(1, 2, 3)]
    data = bytearray(path.read_bytes())
    data[8] = 2
    path.write_bytes(data)
    with pytest.raises(Exception, match=r"1\.log\.idx is not the index of a log in format 1\. Read it with"):
        index.read(path)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(max_size=90) | st.text("a\n", max_size=90).map(str.encode), max_size=20),
    st.integers(1, 64),
    st.sets(st.integers(0, 19)),
)
def test_what_was_appended_is_read_at_every_step(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], stretch: int, restarts: set[int]
) -> None:
    path = tmp_path_factory.mktemp("log") / "1.log"
    log, written = StoredLog(path, stretch), b""
    for number, piece in enumerate(pieces):
        if number in restarts:
            log = StoredLog(path, stretch)
        log.append(memoryview(piece))
        log.pack()
        written += piece
        assert text_of(path) == written
    log.seal()
    assert text_of(path) == written


WRITER = """
import sys
from pathlib import Path
from allotment_testfarm.engine.logs import LogSink

sink, have = LogSink(Path(sys.argv[1])), 0
data = Path(sys.argv[2]).read_bytes()
while have < len(data):
    have = sink.append("7/1.log", have, data[have : have + 90_000]).acknowledged
    print(have, flush=True)
print("sealed", sink.seal("7/1.log"), flush=True)
"""


def test_a_writer_killed_at_any_moment_loses_nothing_that_it_has_acknowledged(tmp_path: Path) -> None:
    """Runs one after the other send the same log from its start, as a test node does to an engine that is new."""
    source, path = tmp_path / "source", tmp_path / "7" / "1.log"
    source.write_bytes(LINES)
    chance = random.Random(20261123)
    kills = runs = 0
    while kills < 10:
        assert (runs := runs + 1) <= 200  # on a busy machine many end before they are killed
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(source)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            said = [writer.stdout.readline() for _ in range(chance.randrange(1, 14))]
            kills += writer.poll() is None
            writer.send_signal(signal.SIGKILL)
            said += writer.stdout.readlines()
        last = max((int(line) for line in said if line.endswith(b"\n") and b"sealed" not in line), default=0)
        text = text_of(path)
        assert len(text) >= last and text == LINES[: len(text)]
        if path.exists() and chance.random() < 0.3:
            StoredLog(path).remove()
    subprocess.run([sys.executable, "-c", WRITER, str(tmp_path), str(source)], check=True, capture_output=True)
    assert text_of(path) == LINES and not path.exists()


@pytest.mark.parametrize("point", range(1, 12))
def test_a_writer_that_dies_between_two_system_calls_leaves_a_log_that_goes_on(tmp_path: Path, point: int) -> None:
    """Every file operation of packing and sealing is the last one, once."""
    path = tmp_path / "1.log"
    stored(path, LINES[:250])
    script = f"""
import os, sys
from pathlib import Path
from allotment_testfarm.logs.store import StoredLog

left = {point}
def count(event, arguments):
    global left
    if event in ("open", "os.truncate", "os.remove") and "1.log" in str(arguments[0]) or event == "os.truncate":
        left -= 1
        if not left:
            os.kill(os.getpid(), 9)
log = StoredLog(Path({str(path)!r}), 100)
sys.addaudithook(count)
log.append(memoryview({LINES[250:420]!r}))
log.pack()
log.seal()
"""
    ended = subprocess.run([sys.executable, "-c", script], check=False).returncode
    text = text_of(path)
    assert text in (LINES[:250], LINES[:420])
    log = StoredLog(path, 100)
    if not log.is_sealed:
        log.append(memoryview(LINES[len(text) : 420]))
        log.pack()
        log.seal()
    assert text_of(path) == LINES[:420]
    assert ended in (0, -9)


def test_readers_beside_the_writer_see_each_byte_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "1.log"
    done, problems = threading.Event(), []

    def read() -> None:
        size = 0
        while not done.is_set():
            with Log(path) as log:
                text = b"".join(log.blocks(0, log.size))
                if log.size < size or text != LINES[: log.size] or log.breaks != text.count(b"\n"):
                    problems.append((size, log.size))
                size = log.size

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    log = StoredLog(path, 10_000)
    for place in range(0, 500_000, 2500):
        log.append(memoryview(LINES[place : place + 2500]))
        log.pack()
    log.seal()
    done.set()
    for reader in readers:
        reader.join()
    assert problems == []
    assert text_of(path) == LINES[:500_000]


ON_A_SMALL_DISK = """
import os, random, sys
from pathlib import Path
from allotment_testfarm.engine.logs import LogSink
from allotment_testfarm.logs.reader import Log

disk, have = Path(sys.argv[1]), 0
sink, data = LogSink(disk), random.Random(1).randbytes(900_000)
ballast = disk / "ballast"

def send(until):
    global have
    while have < until:
        try:
            have = sink.append("1.log", have, data[have : min(have + 70_000, until)]).acknowledged
        except OSError:
            return "full"
        check()
    return "sent"

def check():
    with Log(disk / "1.log") as log:
        text = b"".join(log.blocks(0, log.size))
    assert have <= len(text) and text == data[: len(text)]

ballast.write_bytes(bytes(1_200_000))
assert send(900_000) == "full"
check()
assert sink.seal("1.log") == sink.seal("1.log") >= have
assert (disk / "1.log").exists(), "there was room to pack it"
check()
ballast.unlink()
assert send(900_000) == "sent"
assert sink.seal("1.log") == 900_000
assert not (disk / "1.log").exists()
check()
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_a_full_disk_refuses_what_it_can_not_keep_and_never_what_it_has(tmp_path: Path) -> None:
    inside = 'mount -t tmpfs -o size=2m tmpfs "$0" && exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inside, str(tmp_path)]
    done = subprocess.run(
        [*command, sys.executable, "-c", ON_A_SMALL_DISK, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
