# SPDX-License-Identifier: Apache-2.0
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement

Measure = Callable[..., Measurement]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, float], None]:
    """Write a file that was changed so many seconds ago."""

    def make(name: str, age: float) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (time.time() - age,) * 2)

    return make


def test_newest_file_tells_whether_something_still_writes(
    measure: Measure, write: Callable[[str, float], None]
) -> None:
    write("srv/monday.gz", 18000)
    write("srv/tuesday.gz", 9000)
    write("srv/other.txt", 1)
    fresh = measure("check_file_age", files="srv/*.gz", maximum_age=10000)
    assert fresh.message == "srv/tuesday.gz, the newest of 2 srv/*.gz, was changed 2.5 h ago"
    assert (fresh.is_passed, fresh.metrics["age"].unit) == (True, "s")
    assert fresh.metrics["age"].value == pytest.approx(9000, abs=100)
    old = measure("check_file_age", files="srv/*.gz", maximum_age=7200)
    assert not old.is_passed
    assert old.message == f"{fresh.message}, expected at most 2.0 h"
    write("srv/wednesday.gz", 0)
    assert measure("check_file_age", files="srv/*.gz", maximum_age=7200).is_passed
    assert measure("check_file_age", files="none-*") == Measurement.failed(
        "no file is none-*, expected at least one", files=0
    )


def test_oldest_file_tells_whether_something_still_takes_away(
    measure: Measure, write: Callable[[str, float], None]
) -> None:
    assert measure("check_file_age", files="queue/**/*", which="oldest") == Measurement.passed(
        "no file is queue/**/*", files=0
    )
    write("queue/new/message", 5)
    assert measure("check_file_age", files="queue/**/*", which="oldest", maximum_age=600).is_passed
    write("queue/old/deep/message", 9000)
    stuck = measure("check_file_age", files="queue/**/*", which="oldest", maximum_age=600)
    assert not stuck.is_passed
    assert stuck.message.startswith("queue/old/deep/message, the oldest of 2 queue/**/*, was changed 2.5 h ago")


def test_several_patterns_count_each_file_once(
    measure: Measure, write: Callable[[str, float], None], tmp_path: Path
) -> None:
    write("a.log", 10)
    write("b.log", 20)
    (tmp_path / "dangling.log").symlink_to("nowhere")
    measured = measure("check_file_age", files=f"*.log b.log {tmp_path}/a.log", which="oldest")
    assert measured.metrics["files"].value == 2
    assert measured.is_passed


def test_file_from_the_future_fails(measure: Measure, write: Callable[[str, float], None]) -> None:
    write("slightly", -50)
    assert measure("check_file_age", files="slightly").message.endswith("was changed 0 s ago")
    write("later", -86400)
    measured = measure("check_file_age", files="later")
    assert not measured.is_passed
    assert measured.message.startswith("later comes from the future, by ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"files": ""}, "files: names none. Write a path, such as srv/backup/*.gz."),
        ({"files": "x", "maximum_age": 0}, "maximum-age: 0 is not above zero. Write it like 5."),
    ],
)
def test_options_are_checked_early(
    make_promise: Callable[..., GenericPromise[Any]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionProblem) as caught:
        make_promise("check_file_age", **options)
    assert str(caught.value) == message
