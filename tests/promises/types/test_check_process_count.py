# SPDX-License-Identifier: Apache-2.0
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from allotment.options import OptionProblem
from allotment_promises import GenericPromise, Measurement

Measure = Callable[..., Measurement]
MARK = f"sought-{os.getpid()}"


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Three processes that can be told by their command line."""
    code = "import sys; print(flush=True); sys.stdin.read()"
    started = [
        subprocess.Popen([sys.executable, "-c", code, MARK], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    for process in started:
        assert process.stdout is not None
        process.stdout.readline()  # it is what it was started as
    yield started
    for process in started:
        process.kill()
        process.communicate()


def test_processes_are_counted_by_command_line(measure: Measure, processes: list[subprocess.Popen[bytes]]) -> None:
    kind = f"processes with '{MARK}' in the command line"
    assert measure("check_process_count", command=MARK) == Measurement.passed(f"3 {kind}", processes=3)
    assert measure("check_process_count", command=MARK, minimum=3, maximum=3).is_passed
    many = measure("check_process_count", command=MARK, maximum=2)
    assert many == Measurement.failed(f"3 {kind}, expected at most 2", processes=3)
    processes[0].send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, processes[0].pid, os.WEXITED | os.WNOWAIT)
    zombie = measure("check_process_count", command=MARK, minimum=3)
    assert zombie == Measurement.failed(f"2 {kind}, expected at least 3", processes=2)


def test_name_and_user_are_compared(measure: Measure, processes: list[subprocess.Popen[bytes]]) -> None:
    user = pwd.getpwuid(os.getuid()).pw_name
    other = "bin" if user != "bin" else "root"
    with open(f"/proc/{processes[0].pid}/comm") as file:
        name = file.read().strip()
    assert measure("check_process_count", process_name=name, command=MARK, user=user, minimum=3).is_passed
    found = measure("check_process_count", process_name="no-such", user=user)
    assert found == Measurement.failed(f"0 processes named no-such of user {user}, expected at least 1", processes=0)
    assert measure("check_process_count", command=MARK, user=other, maximum=0).is_passed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minimum": 1}, "process-name, command, user: none of them is given. Say which processes count."),
        ({"command": "x", "minimum": 3, "maximum": 2}, "minimum, maximum: 3 is above 2. Exchange them."),
        ({"command": "["}, "command: '[' is no regular expression: unterminated character set at position 0."),
    ],
)
def test_options_are_checked_early(
    make_promise: Callable[..., GenericPromise[Any]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionProblem) as caught:
        make_promise("check_process_count", **options)
    assert str(caught.value).startswith(message)
