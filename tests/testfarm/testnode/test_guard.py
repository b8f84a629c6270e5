# SPDX-License-Identifier: Apache-2.0
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from allotment_testfarm.testnode import guard

Start = Callable[..., "subprocess.Popen[bytes]"]
SLEEPER = "import sys, time; open(sys.argv[2], 'w').close(); time.sleep(600)"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a Python program with arguments under the guard; its standard input is the lifeline."""
    started: list[subprocess.Popen[bytes]] = []

    def run(program: str, *arguments: str, timeout: float = 60.0, **limit: int) -> "subprocess.Popen[bytes]":
        limits = ["--timeout", str(timeout), "--status", str(tmp_path / "status")]
        for name, value in limit.items():
            limits += [f"--{name}", str(value)]
        command = [sys.executable, "-c", program, *arguments]
        words = [sys.executable, "-I", "-S", guard.__file__, *limits, "--", *command]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        return process

    yield run
    for process in started:
        assert process.stdin is not None
        process.stdin.close()  # by the lifeline: a killed guard could not tidy up
        process.wait(60)


def is_there(path: Path) -> bool:
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return path.exists()


def test_exit_code_and_output_are_the_commands(start: Start, tmp_path: Path) -> None:
    process = start("import sys; print('out'); sys.exit(7)")
    assert process.stdout is not None
    assert (process.wait(60), process.stdout.read()) == (7, b"out\n")
    assert (tmp_path / "status").read_text() == "ended"


def test_death_by_signal_is_told_as_shells_do(start: Start) -> None:
    assert start("import os; os.kill(os.getpid(), 9)").wait(60) == 128 + 9


def test_command_that_does_not_exist_is_127() -> None:
    words = [sys.executable, "-I", "-S", guard.__file__, "--", "/nowhere/program"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.wait(60) == 127
        assert process.stderr is not None
        assert b"guard: /nowhere/program can't be started" in process.stderr.read()


def test_input_of_the_command_is_empty(start: Start) -> None:
    assert start("import sys; sys.exit(sys.stdin.read() != '')").wait(60) == 0


def test_timeout_ends_the_command_with_its_own_code(start: Start, tmp_path: Path) -> None:
    assert start("import time; time.sleep(600)", timeout=0.3).wait(60) == 124
    assert (tmp_path / "status").read_text() == "timeout"


def test_closed_lifeline_ends_the_command(start: Start, tmp_path: Path) -> None:
    process = start(SLEEPER, "x", str(tmp_path / "up"))
    assert is_there(tmp_path / "up")
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(60) == 125
    assert (tmp_path / "status").read_text() == "abandoned"


def test_sigterm_ends_the_command(start: Start, tmp_path: Path) -> None:
    process = start(SLEEPER, "x", str(tmp_path / "up"))
    assert is_there(tmp_path / "up")
    process.terminate()
    assert process.wait(60) == 126
    assert (tmp_path / "status").read_text() == "stopped"


DAEMON = """
import os, subprocess, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        subprocess.run([sys.executable, "-c", SLEEPER, *sys.argv[1:]])
    os._exit(0)
os.wait()
time.sleep(600)
"""
DEAF = """
import signal, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
open(sys.argv[2], "w").close()
time.sleep(600)
"""
FORKS_AND_EXITS = """
import os, sys, time
if os.fork():
    while not os.path.exists(sys.argv[2]):
        time.sleep(0.01)
    sys.exit(0)
os.setsid()
for step in range(100000):
    if step == 20:
        open(sys.argv[2], "w").close()
    if os.fork():
        os._exit(0)
"""
FAMILY = """
import os, sys, time
for _ in range(30):
    if os.fork() == 0:
        os.fork()
        time.sleep(600)
open(sys.argv[2], "w").close()
time.sleep(600)
"""


@pytest.mark.parametrize(
    "program",
    [DAEMON.replace("SLEEPER", repr(SLEEPER)), DEAF, FORKS_AND_EXITS, FAMILY],
    ids=["daemon", "deaf", "chain of forks", "family"],
)
def test_nothing_is_left(
    start: Start, tmp_path: Path, program: str, marker: str, marked: Callable[[], list[int]]
) -> None:
    process = start(program, marker, str(tmp_path / "up"))
    assert is_there(tmp_path / "up")
    assert process.stdin is not None
    process.stdin.close()
    process.wait(60)
    assert marked() == []


FORK_BOMB = """
import os, sys
for _ in range(12):  # 4096 at most, should nobody end it
    os.fork()
open(sys.argv[2], "w").close()
import time
time.sleep(600)
"""
BOMB_OF_DAEMONS = FORK_BOMB.replace("    os.fork()", "    os.fork() or os.setsid()")
HOG = """
import sys, time
held = []
while len(held) < 1000:  # megabytes
    held.append(bytearray(b"x" * (1 << 20)))
    time.sleep(0.002)
time.sleep(600)
"""
HERD = """
import os, sys, time
for _ in range(20):
    if os.fork() == 0:
        held = bytearray(b"x" * (20 << 20))
        time.sleep(600)
time.sleep(600)
"""
FAMILY_OF_ONE_HEAP = """
import os, time
held = bytearray(b"x" * (100 << 20))
children = [os.fork() or time.sleep(600) for _ in range(10)]
time.sleep(1.5)
"""


@pytest.mark.parametrize("program", [FORK_BOMB, BOMB_OF_DAEMONS], ids=["one group", "sessions of their own"])
def test_fork_bomb_is_ended(
    start: Start, tmp_path: Path, program: str, marker: str, marked: Callable[[], list[int]]
) -> None:
    process = start(program, marker, str(tmp_path / "up"), processes=100)
    assert process.wait(120) == 122
    assert (tmp_path / "status").read_text() == "processes"
    assert marked() == []


@pytest.mark.parametrize("program", [HOG, HERD], ids=["one process", "many processes"])
def test_memory_hog_is_ended(
    start: Start, tmp_path: Path, program: str, marker: str, marked: Callable[[], list[int]]
) -> None:
    assert start(program, marker, memory=200 << 20).wait(120) == 123
    assert (tmp_path / "status").read_text() == "memory"
    assert marked() == []


def test_memory_that_forks_share_counts_once(start: Start) -> None:
    assert start(FAMILY_OF_ONE_HEAP, memory=400 << 20).wait(120) == 0


def test_kernel_that_runs_out_of_memory_would_kill_the_job_first(start: Start) -> None:
    process = start("print(open('/proc/self/oom_score_adj').read())")
    assert process.stdout is not None
    assert int(process.stdout.read()) == 500


def test_daemons_end_with_the_command(
    start: Start, tmp_path: Path, marker: str, marked: Callable[[], list[int]]
) -> None:
    program = (
        "import os, subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {SLEEPER!r}, *sys.argv[1:]], start_new_session=True)\n"
        "while not os.path.exists(sys.argv[2]): time.sleep(0.01)\n"
    )
    assert start(program, marker, str(tmp_path / "up")).wait(60) == 0
    assert marked() == []


def test_killed_starter_ends_everything_at_once(
    tmp_path: Path, marker: str, marked: Callable[[], list[int]], within: Callable[..., bool]
) -> None:
    starter = (
        "import subprocess, sys, time\n"
        f"words = [sys.executable, '-I', '-S', {guard.__file__!r}, '--', sys.executable, '-c', {SLEEPER!r}]\n"
        "subprocess.Popen([*words, *sys.argv[1:]], stdin=subprocess.PIPE)\n"
        "time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", starter, marker, str(tmp_path / "up")])
    assert is_there(tmp_path / "up")
    assert marked() != []
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert within(60, lambda: marked() == [])  # one second where nothing else runs


def test_children_are_found_without_kernel_help_too() -> None:
    import os

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert process.pid in guard.children_by_scan(os.getpid())
        assert process.pid in guard.children(os.getpid())
        process.kill()
