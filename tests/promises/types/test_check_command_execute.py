# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement, Metric


@pytest.fixture
def run(measure: Callable[..., Measurement]) -> Callable[..., tuple[bool, str]]:
    def start(command: Any, **options: Any) -> tuple[bool, str]:
        measured = measure("check_command_execute", command=command, **options)
        return measured.is_passed, measured.message

    return start


Run = Callable[..., tuple[bool, str]]


def test_a_command_is_run_without_a_shell_in_the_partition(run: Run, tmp_path: Path) -> None:
    assert run("pwd") == (True, f"pwd ended with exit code 0: {tmp_path}")
    assert run("echo 'a  b' $HOME;")[1] == "echo ended with exit code 0: a  b $HOME;"
    assert run(["test", "", "=", ""])[0]
    assert run(["sh", "-c", "echo no; exit 3"]) == (False, "sh ended with exit code 3: no")


def test_its_time_is_measured(measure: Callable[..., Measurement]) -> None:
    measured = measure("check_command_execute", command="sleep 0.1")
    assert 0.1 <= measured.metrics["seconds"].value < 10


def test_performance_data_of_a_plugin_becomes_metrics(measure: Callable[..., Measurement]) -> None:
    script = "echo 'DISK WARNING - nearly full | used=90%;80;95 time=20ms'; exit 1"
    measured = measure("check_command_execute", command=["sh", "-c", script])
    assert (measured.is_passed, measured.message) == (
        False,
        "sh ended with exit code 1: DISK WARNING - nearly full",
    )
    assert measured.metrics["used"] == Metric(0.9, "1")
    assert measured.metrics["time"] == Metric(0.02, "s")
    assert measured.metrics["seconds"].value > 0


def test_a_command_that_can_not_run_or_end_fails(run: Run) -> None:
    assert run("no-such-program") == (False, "no-such-program can't be started: No such file or directory")
    assert run("sleep 300", timeout=0.1) == (False, "sleep did not end within 0.1 s")
    with pytest.raises(OptionProblem, match="timeout: 0 is not above zero"):
        run("true", timeout=0)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "command: is empty. Write a program and its arguments."),
        ("echo 'a", 'command: No closing quotation in "echo \'a". Close the quotation.'),
        ([], "command: is empty. Write a program and its arguments."),
    ],
)
def test_wrong_command_is_refused(make_promise: Callable[..., GenericPromise[Any]], command: Any, message: str) -> None:
    with pytest.raises(OptionProblem) as caught:
        make_promise("check_command_execute", command=command)
    assert str(caught.value) == message
