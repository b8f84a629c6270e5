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
SCRIPT = 'echo $$ > run/pid; echo begun; read code; echo "$code" > run/status; exit "$code"'


def _status(measure: Measure, **options: Any) -> Measurement:
    return measure(
        "monitor_bootstrap_status",
        process_pid_file="run/pid",
        status_file="run/status",
        process_name="installation",
        **options,
    )


@pytest.mark.parametrize(
    ("code", "after"),
    [
        ("0", Measurement.passed("installation has ended well")),
        ("3", Measurement.failed("installation has ended with '3', expected '0'")),
    ],
)
def test_program_is_followed_to_its_end(measure: Measure, tmp_path: Path, code: str, after: Measurement) -> None:
    (tmp_path / "run").mkdir()
    assert _status(measure) == Measurement.failed("installation does not run and has left no run/status")
    with subprocess.Popen(
        ["sh", "-c", SCRIPT], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "begun\n"
        assert _status(measure) == Measurement.passed(f"installation is at work, with pid {program.pid}")
        program.communicate(code)
    assert _status(measure) == after


def test_killed_program_fails_and_is_not_taken_for_another(measure: Measure, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with subprocess.Popen(["sleep", "300"]) as program:
        (tmp_path / "run/pid").write_text(f"{program.pid}\n")
        assert _status(measure).is_passed
        program.kill()
        os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)
        gone = Measurement.failed("installation does not run and has left no run/status")
        assert _status(measure) == gone, "a zombie"
    (tmp_path / "run/pid").write_text(f"{os.getpid()}")
    os.utime(tmp_path / "run/pid", (time.time() - 86400 * 3650,) * 2)
    assert _status(measure) == gone, "the pid is another process's by now"
    for nonsense in ("", "x", "-1", "99999999999999999999"):
        (tmp_path / "run/pid").write_text(nonsense)
        assert _status(measure) == gone


def test_words_may_be_expected(measure: Measure, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/status").write_text("all done\nin 5 s\n")
    assert _status(measure, expect="all done").is_passed
    assert not _status(measure, expect="all don").is_passed
    (tmp_path / "run/status").write_text("")
    assert _status(measure).message == "installation has ended with '', expected '0'"


def test_options_are_checked_early(make_promise: Callable[..., GenericPromise[Any]]) -> None:
    with pytest.raises(OptionProblem, match="expect: is empty"):
        make_promise("monitor_bootstrap_status", process_pid_file="a", status_file="b", expect=" ")
