# SPDX-License-Identifier: Apache-2.0

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement

Measure = Callable[..., Measurement]


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    (tmp_path / "queue").mkdir()
    for name in ("a.mail", "b.mail", "c.tmp", ".hidden.mail"):
        (tmp_path / "queue" / name).touch()
    return tmp_path / "queue"


def test_files_are_counted(measure: Measure, queue: Path) -> None:
    measured = measure("check_queue_length", folder="queue", maximum=3)
    assert (measured.is_passed, measured.message) == (True, "3 wait in queue")
    assert measured.metrics["length"].value == 3
    full = measure("check_queue_length", folder="queue", maximum=2)
    assert (full.is_passed, full.message) == (False, "3 wait in queue, expected at most 2")
    assert measure("check_queue_length", folder="queue", pattern="*.mail", maximum=2).is_passed
    assert not measure("check_queue_length", folder="queue", pattern="*.none", minimum=1).is_passed


def test_none_may_wait_too_long(measure: Measure, queue: Path) -> None:
    hour_ago = time.time() - 3600
    os.utime(queue / "b.mail", (hour_ago, hour_ago))
    late = measure("check_queue_length", folder="queue", maximum_age=600)
    assert not late.is_passed
    assert late.message.startswith("3 wait in queue, one for 36")
    assert late.message.endswith(" s, expected at most 600 s")
    assert late.metrics["oldest"].value == pytest.approx(3600, abs=120)
    assert measure("check_queue_length", folder="queue", maximum_age=7200).is_passed
    assert measure("check_queue_length", folder="queue", pattern="*.tmp", maximum_age=600).is_passed


def test_a_folder_that_is_away_fails(measure: Measure) -> None:
    measured = measure("check_queue_length", folder="none", maximum=1)
    assert measured == Measurement.failed("none can't be examined: No such file or directory")


@pytest.mark.parametrize(
    "words",
    ["rpush q a b", "sadd q a b", "zadd q 1 a 2 b", "xadd q * k a", "hset q a 1 b 2", "del q"],
    ids=lambda word: word.split()[0],
)
def test_what_waits_in_redis_is_counted(measure: Measure, start_redis: Callable[..., Any], words: str) -> None:
    place = start_redis().socket
    subprocess.run(["redis-cli", "-s", str(place), *words.split()], check=True, timeout=20, stdout=subprocess.DEVNULL)
    count = {"xadd": 1, "del": 0}.get(words.split()[0], 2)
    measured = measure("check_queue_length", socket=place, key="q", maximum=1.5)
    assert measured.is_passed is (count < 2)
    assert measured.message.startswith(f"{count} wait in q of {place}")
    assert measured.metrics["length"].value == count


def test_a_key_that_is_no_queue_fails(measure: Measure, start_redis: Callable[..., Any]) -> None:
    place = start_redis().socket
    subprocess.run(["redis-cli", "-s", str(place), "set", "q", "x"], check=True, timeout=20, stdout=subprocess.DEVNULL)
    measured = measure("check_queue_length", socket=place, key="q", maximum=1)
    assert measured.message == f"q of {place} is a string, expected one of list, set, zset, stream, hash"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"maximum": 1}, "folder, key: none of them is given. Give one of them."),
        ({"folder": "f"}, "minimum, maximum: none of them is given. Give one of them, or both."),
        ({"folder": "f", "maximum-age": -1}, "maximum-age: -1 is below zero. Write seconds, like 600."),
        (
            {"folder": "f", "maximum": 1, "host": "h"},
            "folder, host, socket: a folder is on no server. Remove one of them.",
        ),
        ({"key": "k", "maximum": 1}, "host, socket: none of them is given. Give one of them."),
        (
            {"key": "k", "host": "h", "maximum-age": 1},
            "maximum-age, key: Redis does not know how old it is. Remove one of the two.",
        ),
    ],
)
def test_options_are_checked_early(
    make_promise: Callable[..., GenericPromise[Any]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionProblem) as caught:
        make_promise("check_queue_length", **options)
    assert str(caught.value) == message
