# SPDX-License-Identifier: Apache-2.0
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from allotment_node import allot_exec

Until = Callable[..., Any]


def start(*words: str, **options: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-I", "-S", allot_exec.__file__, *words], **options)


def script(scratch: Path, body: str) -> str:
    path = scratch / "program"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    return str(path)


@pytest.mark.parametrize(("body", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)])
def test_the_exit_code_is_the_program_s(scratch: Path, body: str, code: int) -> None:
    assert start("--", script(scratch, body)).wait(20) == code


def test_a_program_that_is_not_there_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    assert start("--", "/nowhere/program").wait(20) == 127
    assert "allot-exec: /nowhere/program: [Errno 2] No such file or directory" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--limt", "x", "--", "true"], "allot-exec: unknown option --limt"),
        (["--grace", "1", "--"], "allot-exec: no program after --"),
    ],
)
def test_a_wrong_command_line_is_said(words: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert start(*words).wait(20) == 1
    assert capfd.readouterr().err.strip() == message


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signals_reach_the_program(scratch: Path, until: Until, number: signal.Signals) -> None:
    ready = scratch / "ready"
    body = f"trap 'exit 42' {number.value}; touch {ready}; while :; do sleep 0.05; done"
    shim = start("--", script(scratch, body))
    until(ready.exists)
    shim.send_signal(number)
    assert shim.wait(20) == 42


def test_a_program_that_ignores_its_end_is_killed_after_the_grace(scratch: Path, until: Until) -> None:
    ready = scratch / "ready"
    shim = start("--grace", "0.2", "--", script(scratch, f"trap '' TERM; touch {ready}; while :; do sleep 0.05; done"))
    until(ready.exists)
    shim.terminate()
    assert shim.wait(20) == 137


def test_what_the_program_leaves_behind_ends_with_it(scratch: Path, until: Until) -> None:
    left = scratch / "left"
    body = f"(setsid sh -c 'trap \"\" TERM; echo $$ > {left}; while :; do sleep 0.05; done' &) ; " \
           f"while [ ! -s {left} ]; do sleep 0.01; done"  # fmt: skip
    assert start("--grace", "0.2", "--", script(scratch, body)).wait(20) == 0
    assert not psutil.pid_exists(int(left.read_text()))


def test_the_program_dies_when_the_shim_is_killed(scratch: Path, until: Until) -> None:
    pid_file = scratch / "pid"
    shim = start("--", script(scratch, f"echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 1000"))
    until(pid_file.exists)
    shim.kill()
    shim.wait(20)
    until(lambda: not psutil.pid_exists(int(pid_file.read_text())))


def test_a_cut_lifeline_ends_the_program(scratch: Path, until: Until) -> None:
    ours, theirs = os.pipe()
    try:
        shim = start("--lifeline", str(ours), "--", "sleep", "1000", pass_fds=(ours,))
    finally:
        os.close(ours)
    until(lambda: psutil.Process(shim.pid).children())
    assert shim.poll() is None
    os.close(theirs)
    assert shim.wait(20) == 128 + signal.SIGTERM


def test_a_parent_that_died_before_the_program_began_means_no_program(scratch: Path) -> None:
    (scratch / "pid").write_text("1\n")
    trace = scratch / "trace"
    assert start("--parent", str(scratch / "pid"), "--", script(scratch, f"touch {trace}")).wait(20) == 127
    assert not trace.exists()


def test_limits_hold(scratch: Path) -> None:
    trace = scratch / "trace"
    program = script(scratch, f"ulimit -n > {trace}")
    assert start("--limit", "nofile=64", "--", program).wait(20) == 0
    assert trace.read_text().strip() == "64"


def test_what_was_used_is_added_up(scratch: Path) -> None:
    usage = scratch / "usage.json"
    usage.write_text("damaged")
    program = script(scratch, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done")
    for runs in (1, 2):
        assert start("--usage", str(usage), "--", program).wait(20) == 0
        found = json.loads(usage.read_bytes())
        assert found["runs"] == runs
    assert found["user_seconds"] > 0
    assert found["peak_bytes"] > 100_000


def test_no_descriptor_of_the_shim_leaks_into_the_program(scratch: Path) -> None:
    trace = scratch / "trace"
    program = script(scratch, f"ls /proc/self/fd > {trace}")
    assert start("--", program).wait(20) == 0
    assert set(trace.read_text().split()) <= {"0", "1", "2", "3"}  # 3 is the folder that ls reads
