# SPDX-License-Identifier: Apache-2.0
import os
import sys
import time
from pathlib import Path

import pytest

from allotment_promises.command import OUTPUT_LIMIT, run_command


def test_output_and_code_are_returned(tmp_path: Path) -> None:
    outcome = run_command(["sh", "-c", "pwd; echo oops >&2; exit 3"], tmp_path, 10.0)
    assert (outcome.code, outcome.output) == (3, f"{tmp_path}\noops\n")
    assert outcome.describe(10.0) == f"ended with exit code 3: {tmp_path}\noops"


def test_environment_is_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "planted")
    outcome = run_command(["/usr/bin/env"], tmp_path, 10.0)
    assert sorted(line.partition("=")[0] for line in outcome.output.splitlines()) == ["HOME", "LANG", "PATH"]


def test_program_over_its_time_is_killed(tmp_path: Path) -> None:
    outcome = run_command(["sh", "-c", "trap '' TERM; echo begun; sleep 300"], tmp_path, 1.0)
    assert outcome.code is None
    assert outcome.describe(1.0) == "did not end within 1 s: begun"


def test_program_that_is_killed_by_a_signal_without_a_name_is_described(tmp_path: Path) -> None:
    assert run_command(["sh", "-c", "kill -37 $$"], tmp_path, 10.0).describe(10.0) == "was killed by signal 37"


def test_child_that_keeps_the_output_open_delays_nothing(tmp_path: Path) -> None:
    started = time.monotonic()
    outcome = run_command(["sh", "-c", "sleep 300 & echo $! > pid; echo done"], tmp_path, 20.0)
    assert (outcome.code, outcome.output) == (0, "done\n")
    assert time.monotonic() - started < 10
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10.0
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split():
        assert time.monotonic() < deadline


def test_flood_is_bounded_and_its_end_kept(tmp_path: Path) -> None:
    outcome = run_command(["sh", "-c", "head -c 5000000 /dev/zero; echo end"], tmp_path, 20.0)
    assert outcome.code == 0
    assert len(outcome.output) == OUTPUT_LIMIT
    assert outcome.output.endswith("end\n")


def test_program_that_closes_its_output_is_waited_for(tmp_path: Path) -> None:
    code = "import os, time; os.close(1); os.close(2); time.sleep(0.2); os._exit(5)"
    assert run_command([sys.executable, "-c", code], tmp_path, 20.0).code == 5


def test_missing_program_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run_command([os.fspath(tmp_path / "nothing")], tmp_path, 1.0)
