# SPDX-License-Identifier: Apache-2.0
"""The file survives kills and full disks, and what is no history is set aside."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from allotment_promises.history import FOLDER, NAME, History, Record
from allotment_promises.measurement import Metric

NOW = 1_800_000_000.0


def _record(number: int) -> Record:
    return Record(NOW + 60 * number, 0.1, True)


def _file(partition: Path) -> Path:
    return partition / FOLDER / NAME


def _write(partition: Path, count: int = 1) -> None:
    with History(partition) as history:
        for number in range(count):
            history.append_all([("web", _record(number))])


def _check(partition: Path) -> None:
    with closing(sqlite3.connect(_file(partition))) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def _write_until_killed(partition: Path, first: int, pipe: int) -> None:
    """Write batches of five records; acknowledge each on the pipe once it is written."""
    for number in range(first, first + 100_000):
        record = Record(NOW + 60 * number, 0.1, number % 9 > 0, str(number) * 20, {"number": Metric(number)})
        with History(partition) as history:
            history.append_all([(f"promise-{place}", record) for place in range(5)])
        os.write(pipe, f"{number}\n".encode())


def _kill_a_writer(partition: Path, first: int, chance: random.Random) -> int:
    """Kill a writer at any moment; return the number of its last acknowledged batch."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _write_until_killed(partition, first, writing)
        finally:
            os._exit(1)
    os.close(writing)
    with open(reading) as acknowledged:
        numbers = [int(acknowledged.readline()) for _ in range(chance.randint(1, 5))]
        time.sleep(chance.uniform(0.0, 0.005))  # the moment of the kill, not a wait for anything
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        numbers += map(int, acknowledged)
    return numbers[-1]


def test_hundred_kills_lose_no_acknowledged_record(partition: Path) -> None:
    chance = random.Random(20261123)
    count = 0
    for _ in range(100):
        last = _kill_a_writer(partition, count, chance)
        with History(partition) as history:
            numbers = [
                [int(item.metrics["number"].value) for item in history.newest(f"promise-{place}", 10_000)]
                for place in range(5)
            ]
        assert numbers == [list(range(len(numbers[0])))] * 5, "a batch is there by half, or a hole"
        count = len(numbers[0])
        assert last < count
    _check(partition)
    assert [path.name for path in _file(partition).parent.iterdir()] == [NAME]


# Runs where the small disk is mounted: appends to the history there, up to a number of records or the first error.
APPENDER = """
import sys
from pathlib import Path
from allotment_promises.history import History, HistoryError, Record
with History(Path(sys.argv[1])) as history:
    count = len(history.newest("web", 10_000))
    print(count)
    try:
        while count < int(sys.argv[2]):
            history.append_all([("web", Record(1.8e9 + 60 * count, 0.1, True))])
            count += 1
    except HistoryError as error:
        print(error)
    assert history.newest("web", 10_000) == [Record(1.8e9 + 60 * number, 0.1, True) for number in range(count)]
    print(count)
"""


def _append_inside(disk: Any, count: int) -> list[str]:
    command = [*disk.inside, sys.executable, "-c", APPENDER, str(disk.place), str(count)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()


def test_full_disk_is_a_clear_error_and_loses_nothing(
    make_small_disk: Callable[[Path, str], Any], tmp_path: Path
) -> None:
    disk = make_small_disk(tmp_path / "disk", "1m")
    assert _append_inside(disk, 50) == ["0", "50"]
    disk.fill()
    before, problem, after = _append_inside(disk, 5000)
    assert before == "50"
    path = disk.place / FOLDER / NAME
    assert problem == f"{path}: no space is left on its disk. Give the partition space, and its user its folder."
    disk.relieve()
    found = _append_inside(disk, int(after) + 5)
    assert found == [after, str(int(after) + 5)]
    kept = tmp_path / "part0" / FOLDER
    kept.mkdir(parents=True)
    shutil.copy(disk.outside / FOLDER / NAME, kept)
    _check(tmp_path / "part0")


def test_history_on_a_disk_that_can_not_be_written_is_read(
    make_small_disk: Callable[[Path, str], Any], tmp_path: Path
) -> None:
    disk = make_small_disk(tmp_path / "disk", "1m")
    _append_inside(disk, 5)
    subprocess.run([*disk.inside, "mount", "-o", "remount,bind,ro", str(disk.place)], check=True)
    before, problem, after = _append_inside(disk, 6)
    assert (before, after) == ("5", "5")
    assert problem.endswith(". Give the partition space, and its user its folder.")


def _text(path: Path) -> None:
    path.write_text("not a database at all, but longer than a header of one\n" * 100)


def _foreign_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE more (a)")


def _newer_format(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 2")


def _trigger(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM promises; END")


def _another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA application_id = 7")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _link(path: Path) -> None:
    target = path.parents[2] / "target.sqlite3"
    path.rename(target)
    path.symlink_to(target)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (_text, "file is not a database"),
        (_foreign_database, "has tables of its own"),
        (_newer_format, "has format 2, and this version reads 1"),
        (_trigger, "has tables of its own"),
        (_another_program, "is not a history of promises"),
        (_folder, "is not a regular file"),
        (_link, "is not a regular file"),
        (_pipe, "is not a regular file"),
    ],
)
@pytest.mark.parametrize("is_read_first", [True, False])
def test_what_is_no_history_is_set_aside(
    partition: Path,
    spoil: Callable[[Path], None],
    problem: str,
    is_read_first: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _write(partition, 3)
    spoil(_file(partition))
    target = partition / "target.sqlite3"
    before = target.read_bytes() if target.exists() else b""
    if is_read_first:
        with History(partition) as history:
            assert history.newest("web", 10) == []
    _write(partition, 1)
    with History(partition) as history:
        assert history.newest("web", 10) == [_record(0)]
    (aside,) = (path for path in _file(partition).parent.iterdir() if path.name != NAME)
    expected = f"{_file(partition)}: {problem}; it is now {aside.name}, and a new history begins"
    assert [record.getMessage() for record in caplog.records] == [expected]
    assert (target.read_bytes() if target.exists() else b"") == before


def test_a_second_damaged_file_replaces_the_first_that_was_set_aside(partition: Path) -> None:
    for spoil in (_text, _folder, _text, _pipe, _text):
        _write(partition)
        spoil(_file(partition))
        _write(partition)
    found = [path.is_dir() for path in _file(partition).parent.glob(f"{NAME}.set-aside-*")]
    assert sorted(found) == [False, True], "the newest file, and a folder that is not removed"


def test_log_of_a_damaged_file_is_not_taken_for_that_of_the_new_one(partition: Path) -> None:
    """A killed writer leaves a log beside the file, which would be replayed into whatever is called so next."""
    _write(partition, 3)
    pid = os.fork()
    if pid == 0:
        try:
            History(partition).append_all([("web", _record(0))])
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert _file(partition).with_name(f"{NAME}-wal").stat().st_size
    _file(partition).write_bytes(b"x" * 5000)
    _write(partition, 2)
    with History(partition) as history:
        assert history.newest("web", 10) == [_record(0), _record(1)]
    _check(partition)


def test_empty_file_becomes_a_history(partition: Path) -> None:
    """A kill may leave one."""
    _file(partition).parent.mkdir(parents=True)
    _file(partition).touch()
    with History(partition) as history:
        assert history.newest("web", 1) == []
    _write(partition)
    _check(partition)


def test_file_is_the_owners_alone(partition: Path) -> None:
    with History(partition) as history:
        history.append_all([("web", _record(0))])
        modes = {path.name: path.stat().st_mode & 0o777 for path in _file(partition).parent.iterdir()}
    assert modes == {NAME: 0o600, f"{NAME}-wal": 0o600, f"{NAME}-shm": 0o600}
    assert _file(partition).parent.stat().st_mode & 0o777 == 0o700


@pytest.fixture(scope="session")
def good_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history with something of everything."""
    partition = tmp_path_factory.mktemp("good")
    with History(partition) as history:
        for number in range(200):
            metrics = {"load": Metric(number / 7)}
            history.append_all([("web", Record(NOW + 60 * number, 0.1, number % 50 > 0, "bad", metrics))])
    return _file(partition)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=200)), max_size=5),
    st.one_of(st.none(), st.floats(0, 1)),
)
def test_any_damage_is_overcome(
    partition: Path, good_file: Path, damages: list[tuple[float, bytes]], end: float | None
) -> None:
    """Reading gives something, whatever it is; writing works, in a new file if need be."""
    data = bytearray(good_file.read_bytes())
    for place, text in damages:
        start = int(place * len(data))
        data[start : start + len(text)] = text
    shutil.rmtree(partition / ".allotment", ignore_errors=True)
    _file(partition).parent.mkdir(parents=True)
    _file(partition).write_bytes(data if end is None else data[: int(end * len(data))])
    for _ in ("as it is", "what was left"):
        with History(partition) as history:
            history.newest("web", 1000)
            history.latest()
            history.series("web", "load", NOW)
            history.points("web", "load", 0, 2 * NOW)
            history.streaks("web")
            history.changes()
            history.uptimes(0, 2 * NOW)
            history.prune({"web", "new"})
            history.append_all([("new", _record(number)) for number in range(150)])
    with History(partition) as history:
        assert _record(149) in history.newest("new", 10)


def test_processes_that_begin_a_history_at_the_same_time_all_write(partition: Path) -> None:
    barrier, release = os.pipe()
    pids = []
    for number in range(8):
        pid = os.fork()
        if pid == 0:
            try:
                os.close(release)
                os.read(barrier, 1)  # until the parent closes its end
                with History(partition) as history:
                    history.append_all([(f"promise-{number}", _record(number))])
                os._exit(0)
            finally:
                os._exit(1)
        pids.append(pid)
    os.close(barrier)
    os.close(release)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 8
    with History(partition) as history:
        assert history.names() == [f"promise-{number}" for number in range(8)]
    _check(partition)
