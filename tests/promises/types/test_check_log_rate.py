# SPDX-License-Identifier: Apache-2.0
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement

Measure = Callable[..., Measurement]
GROW = """i=0; while [ $i -lt 30 ]; do
    echo "$(date +%Y-%m-%dT%H:%M:%S%z) GET /page$((i % 3))"; i=$((i + 1))
done >> app.log"""


def test_lines_that_a_process_writes_are_counted(measure: Measure, tmp_path: Path) -> None:
    subprocess.run(["sh", "-c", GROW], cwd=tmp_path, check=True)
    measured = measure("check_log_rate", log_file="app.log", period=600, minimum=2)
    assert measured.is_passed
    assert measured.message == "3 lines a minute in app.log over the last 10.0 min"
    assert (measured.metrics["lines"].value, measured.metrics["rate"].value) == (30, pytest.approx(0.05))
    assert measured.metrics["rate"].unit == "1/s"
    low = measure("check_log_rate", log_file="app.log", period=600, pattern="page2", minimum=2, maximum=5)
    assert not low.is_passed
    assert low.message == "1 lines a minute that match 'page2' in app.log over the last 10.0 min, expected 2 to 5"
    subprocess.run(["sh", "-c", GROW], cwd=tmp_path, check=True)
    assert measure("check_log_rate", log_file="app.log", period=600, maximum=5).message == (
        "6 lines a minute in app.log over the last 10.0 min, expected at most 5"
    )


def test_old_lines_do_not_count(measure: Measure, tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text("2020-01-01T00:00:00Z old\n" * 10)
    assert not measure("check_log_rate", log_file="app.log", minimum=0.1).is_passed


def test_log_that_can_not_be_read_fails(measure: Measure, tmp_path: Path) -> None:
    gone = measure("check_log_rate", log_file="app.log", maximum=1)
    assert gone == Measurement.failed("app.log can't be read: No such file or directory")
    (tmp_path / "app.log").write_text("no time\n")
    assert not measure("check_log_rate", log_file="app.log", maximum=1).is_passed


def test_options_are_checked_early(make_promise: Callable[..., GenericPromise[Any]]) -> None:
    with pytest.raises(OptionProblem, match="minimum, maximum: none of them is given"):
        make_promise("check_log_rate", log_file="x")
    with pytest.raises(OptionProblem, match="period: 0 is not above zero"):
        make_promise("check_log_rate", log_file="x", period=0, minimum=1)
