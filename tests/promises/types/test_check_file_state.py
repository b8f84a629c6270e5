# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement, Metric


def test_file_states(measure: Callable[..., Measurement], tmp_path: Path) -> None:
    (tmp_path / "full").write_text("x")
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")

    def state(filename: str, state: str = "present") -> tuple[bool, str]:
        measured = measure("check_file_state", filename=filename, state=state)
        return measured.is_passed, measured.message

    assert state("full") == (True, "full is not-empty")
    assert state("full", "empty") == (False, "full is not-empty, expected empty")
    assert state("empty", "empty") == (True, "empty is empty")
    assert state("empty", "not-empty") == (False, "empty is empty, expected not-empty")
    assert state("folder", "empty") == (True, "folder is empty")
    assert state("gone", "absent") == (True, "gone is absent")
    assert state("gone/under", "present") == (False, "gone/under is absent, expected present")
    assert state("full/under", "absent") == (True, "full/under is absent")
    assert state("dangling") == (False, "dangling is absent, expected present")
    assert state(str(tmp_path / "full"), "absent")[0] is False


def test_a_failure_says_how_large_the_file_is_and_where_to_read_it(
    measure: Callable[..., Measurement], tmp_path: Path
) -> None:
    (tmp_path / "error.log").write_text("broken")
    measured = measure("check_file_state", filename="error.log", state="empty", url="https://host/error.log")
    assert measured == Measurement.failed(
        "error.log is not-empty, expected empty; see https://host/error.log", bytes=Metric(6, "B")
    )


def test_unknown_state_suggests_the_nearest(make_promise: Callable[..., GenericPromise[Any]]) -> None:
    with pytest.raises(OptionProblem) as caught:
        make_promise("check_file_state", filename="x", state="presnt")
    assert str(caught.value) == (
        "state: 'presnt' is not one of its values. Did you mean 'present'? Valid: absent, empty, not-empty, present."
    )
