# SPDX-License-Identifier: Apache-2.0
import contextlib
from pathlib import Path

from allotment_promises.history import FOLDER, MESSAGE_LIMIT, SIZE_LIMIT, History, Record


def _file(partition: Path, name: str = "web") -> Path:
    return partition / FOLDER / f"{name}.jsonl"


def test_newest_records_come_oldest_first(partition: Path) -> None:
    history = History(partition)
    for number in range(5):
        history.append("web", Record(float(number), 0.25, number % 2 == 0, f"message {number}"))
    assert history.newest("web", 3) == [
        Record(2.0, 0.25, True),
        Record(3.0, 0.25, False, "message 3"),
        Record(4.0, 0.25, True),
    ]
    assert history.newest("other", 3) == []
    assert history.newest("web", 0) == []


def test_runs_that_could_not_measure_are_no_measurements(partition: Path) -> None:
    history = History(partition)
    for is_passed in (False, None, None, True):
        history.append("web", Record(1.0, 0.0, is_passed, "m"))
    assert [item.is_passed for item in history.measurements("web", 2)] == [False, True]


def test_file_is_bounded_and_keeps_the_newest(partition: Path) -> None:
    history = History(partition)
    for number in range(1000):
        history.append("web", Record(float(number), 0.0, False, "x" * 10_000))
    assert _file(partition).stat().st_size <= SIZE_LIMIT + 2 * MESSAGE_LIMIT
    assert [record.time for record in history.newest("web", 3)] == [997.0, 998.0, 999.0]
    assert [path.name for path in _file(partition).parent.iterdir()] == ["web.jsonl"]


def test_half_a_line_and_nonsense_are_passed_over(partition: Path) -> None:
    history = History(partition)
    history.append("web", Record(1.0, 0.0, True))
    with _file(partition).open("ab") as file:
        file.write(b'[1]\n{"ok": 7, "t": 1, "s": 1}\n{"ok": true}\n\xff\xff\n{"t": 5.0, "s"')
    assert history.newest("web", 20) == [Record(1.0, 0.0, True)]


def test_another_format_is_as_if_there_were_nothing(partition: Path) -> None:
    _file(partition).parent.mkdir(parents=True)
    _file(partition).write_text('{"format": 2}\n{"t": 1, "s": 1, "ok": true}\n')
    assert History(partition).newest("web", 20) == []


def test_link_is_neither_read_nor_written(partition: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text('{"format": 1}\n{"t": 1, "s": 1, "ok": true}\n')
    _file(partition).parent.mkdir(parents=True)
    _file(partition).symlink_to(target)
    history = History(partition)
    assert history.newest("web", 20) == []
    before = target.read_bytes()
    with contextlib.suppress(OSError):
        history.append("web", Record(1.0, 0.0, True))
    assert target.read_bytes() == before
