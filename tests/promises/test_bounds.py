# SPDX-License-Identifier: Apache-2.0
"""What a promise may use: memory, output, processes; and that whoever goes beyond it does so alone."""

import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from allotment_promises import process
from allotment_promises.launcher import Launcher
from allotment_promises.result import PromiseResult

Write = Callable[..., Path]
Eventually = Callable[[Callable[[], object]], None]
EACH = 10  # misbehaving promises of each kind among 200

# Writes into each pipe of the process that runs it: as that user, it may open them.
MEDDLER = """#!PYTHON
import os, stat
folder = f"/proc/{os.getppid()}/fd"
line = b'{"name": "meddler", "status": "passed", "message": "", "started": 1%s, "seconds": 0,' % (b"0" * 400)
for name in os.listdir(folder):
    try:
        if stat.S_ISFIFO(os.stat(f"{folder}/{name}").st_mode):
            handle = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_NONBLOCK)
            os.write(handle, line + b' "metrics": {}, "target": "", "measured": true}' + bytes([10]))
    except OSError:
        pass
"""


def _by_name(results: list[PromiseResult]) -> dict[str, tuple[str, str]]:
    return {result.name: (str(result.status), result.message) for result in results}


def _descendants(pid: int | None) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def test_promise_that_needs_too_much_memory_is_an_error_alone(
    launcher: Launcher, partition: Path, promise: Write
) -> None:
    promise("m-eats", how="eat_memory")
    for name in ("a", "z"):
        promise(name, "check_file_state", filename="etc")
    results = _by_name(launcher.run(partition))
    assert results["m-eats"] == ("error", "needs more memory than the 512 MiB that a promise may use")
    assert results["a"] == results["z"] == ("passed", "etc is not-empty")


def test_how_much_memory_is_the_launchers_choice(
    misbehaving_plugin: None, partition: Path, promise: Write, executable: Write
) -> None:
    promise("eats", how="eat_memory")
    executable("child", "#!/bin/sh\nulimit -d\n")
    with Launcher(memory=3 << 30) as launcher:
        results = launcher.run(partition)
    assert {str(result.status) for result in results} == {"passed"}
    assert 3 << 20 < int(results[0].message) < 4 << 20  # KiB


def test_memory_limit_counts_from_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda kind, value: found.append(value))
    process.limit_memory(1 << 30, 4)
    process.limit_memory(2 << 30, 4)
    assert found[1][0] - found[0][0] == pytest.approx(1 << 30, abs=8 << 20)


def test_what_is_printed_goes_nowhere(launcher: Launcher, partition: Path, promise: Write, capfd: object) -> None:
    for number in range(5):
        promise(f"prints-{number}", how="print_much")
    assert set(_by_name(launcher.run(partition)).values()) == {("passed", "printed 20 MiB")}
    assert sum(path.stat().st_size for path in partition.rglob("*") if path.is_file()) < 1 << 20


def test_a_crash_tells_the_end_of_what_was_printed_without_secrets(
    launcher: Launcher, partition: Path, promise: Write
) -> None:
    promise("leaves", how="say_and_leave", token={"$secret": "planted-in-options"})
    status, message = _by_name(launcher.run(partition))["leaves"]
    assert status == "error"
    assert message.startswith("the promise's process ended with exit code 3 before it had a result: xxx")
    assert message.endswith("x token is <secret>, and the end")
    assert len(message) <= 1200


@pytest.mark.parametrize("how", ["fork", "comet"])
def test_children_do_not_outlive_their_batch(
    launcher: Launcher, partition: Path, promise: Write, eventually: Eventually, how: str
) -> None:
    promise("forks", how=how)
    promise("fine", "check_file_state", filename="etc")
    launcher.run(partition, names=["fine"])
    results = _by_name(launcher.run(partition))
    assert {status for status, _ in results.values()} == {"passed"}
    eventually(lambda: not _descendants(launcher.zygote))  # the batch's own process ends after its answer


def test_a_crash_is_seen_although_a_child_holds_what_was_open(
    launcher: Launcher, partition: Path, promise: Write
) -> None:
    promise("crashes", how="fork_and_crash", timeout=100.0)
    launcher.run(partition, names=[])
    began = time.monotonic()
    results = _by_name(launcher.run(partition))
    assert results["crashes"] == ("error", "the promise's process was killed by SIGSEGV before it had a result")
    assert time.monotonic() - began < 50.0


def test_a_wild_number_in_its_runners_pipe_hurts_no_other(
    launcher: Launcher, partition: Path, promise: Write, executable: Write
) -> None:
    executable("meddler", MEDDLER.replace("PYTHON", sys.executable))
    promise("fine", "check_file_state", filename="etc")
    found = _by_name(launcher.run(partition))
    assert found["fine"][0] == "passed"
    assert found["meddler"][0] == "error"


def test_a_group_that_forks_all_the_time_is_killed(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        process.adopt_orphans()
        if os.fork() == 0:
            os.setsid()
            deadline = time.monotonic() + 60.0
            while time.monotonic() < deadline:
                os.fork() and os._exit(0)
        process.kill_children()
        os._exit(0 if not _descendants(os.getpid()) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_two_hundred_promises_of_which_forty_misbehave(
    launcher: Launcher, partition: Path, promise: Write, eventually: Eventually
) -> None:
    """The others are on time, no process is left, nothing has grown."""
    for number in range(EACH):
        promise(f"hangs-{number}", how="sleep", timeout=3.0)
        promise(f"crashes-{number}", how="crash")
        promise(f"prints-{number}", how="print_much")
        promise(f"forks-{number}", how="fork")
    for number in range(200 - 4 * EACH):
        promise(f"fine-{number}", "check_file_state", filename="etc")
    launcher.run(partition, names=["fine-0"])
    assert launcher.zygote is not None
    zygote = psutil.Process(launcher.zygote)
    memory, files = zygote.memory_info().rss, zygote.num_fds()
    for _ in range(2):
        began = time.monotonic()
        results = _by_name(launcher.run(partition))
        assert time.monotonic() - began < 30.0
        assert len(results) == 200
        for name, (status, message) in results.items():
            expected = {"hangs": "failed", "crashes": "error"}.get(name.partition("-")[0], "passed")
            assert (name, status) == (name, expected), message
    eventually(lambda: not _descendants(launcher.zygote))
    assert zygote.memory_info().rss - memory < 8 << 20
    assert zygote.num_fds() == files
