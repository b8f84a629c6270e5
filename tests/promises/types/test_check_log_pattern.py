# SPDX-License-Identifier: Apache-2.0
import logging
import logging.handlers
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement

Measure = Callable[..., Measurement]


@pytest.fixture
def logger(tmp_path: Path) -> Iterator[logging.Logger]:
    """A logger that writes to a real file and rotates it after 2,000 bytes."""
    handler = logging.handlers.RotatingFileHandler(tmp_path / "app.log", maxBytes=2000, backupCount=20)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    found = logging.Logger("app")
    found.addHandler(handler)
    yield found
    handler.close()


def _check(measure: Measure, **options: Any) -> Measurement:
    return measure("check_log_pattern", log_file="app.log", **options)


def test_errors_are_counted_as_the_log_grows_and_rotates(measure: Measure, logger: logging.Logger) -> None:
    logger.info("started")
    assert _check(measure, pattern="ERROR") == Measurement.passed(
        "0 lines of the last 60.0 min in app.log with 'ERROR'", matches=0
    )
    logger.error("no space")
    found = _check(measure, pattern="ERROR")
    assert (found.is_passed, found.metrics["matches"].value) == (False, 1)
    assert found.message.startswith(
        "1 line of the last 60.0 min in app.log with 'ERROR', expected at most 0; the newest: "
    )
    assert found.message.endswith(" ERROR no space")
    for number in range(200):
        logger.info("working on %s", number)
    logger.error("again")
    assert _check(measure, pattern="ERROR").metrics["matches"].value == 2
    assert _check(measure, pattern="ERROR", error_threshold=2).is_passed
    assert _check(measure, pattern="ERROR", ignore="no space|again").is_passed


def test_old_errors_are_forgotten(measure: Measure, tmp_path: Path) -> None:
    old = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() - 7200))
    (tmp_path / "app.log").write_text(f"{old} ERROR no space\n")
    assert _check(measure, pattern="ERROR").is_passed
    assert not _check(measure, pattern="ERROR", maximum_delay=8000).is_passed
    assert not _check(measure, pattern="ERROR", maximum_delay=0).is_passed


def test_whole_file_needs_no_times(measure: Measure, tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text("ERROR without a time\n")
    assert _check(measure, pattern="ERROR", maximum_delay=0).message == (
        "1 line in app.log with 'ERROR', expected at most 0; the newest: ERROR without a time"
    )
    assert not _check(measure, pattern="fine").is_passed, "its lines can't be told to be new enough"


def test_log_that_can_not_be_read_fails(measure: Measure, tmp_path: Path) -> None:
    assert _check(measure, pattern="x") == Measurement.failed("app.log can't be read: No such file or directory")
    os.mkfifo(tmp_path / "app.log")
    assert _check(measure, pattern="x") == Measurement.failed(f"{tmp_path / 'app.log'} is not a regular file")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"pattern": "(a"},
            "pattern: '(a' is no regular expression: missing ), unterminated subpattern at position 0."
            " See Python's module re.",
        ),
        ({"pattern": ""}, "pattern: is empty. Write a regular expression, such as ERROR|CRITICAL."),
        ({"pattern": "x", "error_threshold": -1}, "error-threshold: -1 is below zero. Write 0 or more."),
    ],
)
def test_options_are_checked_early(
    make_promise: Callable[..., GenericPromise[Any]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionProblem) as caught:
        make_promise("check_log_pattern", log_file="x", **options)
    assert str(caught.value) == message
