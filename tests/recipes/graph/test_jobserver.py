# SPDX-License-Identifier: Apache-2.0
"""The job budget with the real make: how many commands run at the same time, and that no token gets lost."""

import array
import contextlib
import fcntl
import functools
import itertools
import os
import random
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from allotment_recipes.forking import forked
from allotment_recipes.graph.jobserver import Holder, Jobserver, SharedJobs

TASKS = 6
MAKEFILE = f"""\
HOLD = while [ `grep -c begin $(LOG)` -lt $(JOBS) ]; do sleep 0.02; done; sleep 0.15
TASKS = {" ".join(f"task{number}" for number in range(TASKS))}
all: $(TASKS)
$(TASKS):
\techo begin >> $(LOG); $(HOLD); echo end >> $(LOG)
"""


@contextlib.contextmanager
def serving(folder: Path, jobs: int) -> Iterator[Jobserver]:
    server = Jobserver(folder / "jobs", jobs)
    try:
        yield server
    finally:
        server.close()


def tokens(server: Jobserver) -> int:
    found = array.array("i", [0])
    fcntl.ioctl(server.handle, termios.FIONREAD, found)
    return found[0]


def equipped(server: Jobserver) -> dict[str, str]:
    return SharedJobs(server, Holder(server.handle)).equip({"PATH": "/usr/bin:/bin"})


@dataclass
class Running:
    """A command that was started as a part is: it has a token of its own first."""

    server: Jobserver
    holder: Holder
    process: "subprocess.Popen[bytes]"

    def end(self) -> None:
        assert self.process.wait(60) == 0
        self.server.put(self.holder)


def start(server: Jobserver, folder: Path, command: list[str]) -> Running:
    while (holder := server.take()) is None:
        select.select([server.handle], [], [])
    process = subprocess.Popen(command, cwd=folder, env=equipped(server), stdout=subprocess.DEVNULL)
    return Running(server, holder, process)


def peak(log: Path) -> int:
    """Return how many commands ran at the same time, at most."""
    running = most = 0
    for line in log.read_text().splitlines():
        running += 1 if line == "begin" else -1
        most = max(most, running)
    return most


@pytest.fixture
def yard(tmp_path: Path) -> Path:
    (tmp_path / "Makefile").write_text(MAKEFILE)
    (tmp_path / "log").touch()
    return tmp_path


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_two_makes_never_have_more_than_the_budget_and_give_all_back(yard: Path, jobs: int) -> None:
    with serving(yard, jobs) as server:
        makes: list[Running] = []
        for _ in range(2):
            if len(makes) == jobs:  # a part waits for a token until another one has ended
                makes.pop(0).end()
            makes.append(start(server, yard, ["make", f"LOG={yard}/log", f"JOBS={jobs}"]))
        for make in makes:
            make.end()
        assert peak(yard / "log") == jobs
        assert len((yard / "log").read_text().splitlines()) == 2 * 2 * TASKS
        assert tokens(server) == jobs


def test_a_make_below_python_which_closes_what_it_could_inherit_uses_the_budget(yard: Path) -> None:
    program = f"import subprocess; subprocess.run(['make', 'LOG={yard}/log', 'JOBS=3'], check=True)"
    with serving(yard, 3) as server:
        start(server, yard, [sys.executable, "-c", program]).end()
        assert peak(yard / "log") == 3
        assert tokens(server) == 3


def test_a_make_below_make_has_its_options_and_the_same_budget(yard: Path) -> None:
    (yard / "outer.mk").write_text(f"all: one two\none two:\n\tmake -f Makefile all LOG={yard}/log JOBS=2\n")
    with serving(yard, 2) as server:
        start(server, yard, ["make", "-f", "outer.mk"]).end()
        assert peak(yard / "log") == 2
        assert tokens(server) == 2


def test_tokens_of_a_killed_make_are_replaced(yard: Path) -> None:
    with serving(yard, 3) as server:
        held = f"HOLD=while [ ! -e {yard}/go ]; do sleep 0.02; done"
        make = start(server, yard, ["make", f"LOG={yard}/log", held])
        while (yard / "log").read_text().count("begin") < 3:
            time.sleep(0.01)
        make.process.send_signal(signal.SIGKILL)
        make.process.wait()
        (yard / "go").touch()
        while (yard / "log").read_text().count("end") < 3:
            time.sleep(0.01)
        server.put(make.holder)
        assert tokens(server) < 3
        server.top_up()
        assert tokens(server) == 3


def test_more_jobs_than_a_fifo_can_hold_are_as_many_as_it_can(tmp_path: Path) -> None:
    with serving(tmp_path, 1_000_000) as server:
        before = tokens(server)
        assert before >= 16
        holders = [server.take() for _ in range(before)]
        assert server.take() is None
        for holder in holders:
            assert holder is not None
            server.put(holder)
        server.top_up()
        assert tokens(server) == before


def test_who_waits_gives_the_token_back_and_takes_one_again(tmp_path: Path) -> None:
    with serving(tmp_path, 1) as server:
        holder = server.take()
        assert holder is not None
        assert server.take() is None
        with SharedJobs(server, holder).idle():
            assert (holder.held, tokens(server), server.is_at_rest) == (0, 1, True)
        assert (holder.held, tokens(server), server.is_at_rest) == (1, 0, False)
        server.put(holder)
        assert tokens(server) == 1


def test_who_has_no_token_takes_none_when_he_has_waited(tmp_path: Path) -> None:
    with serving(tmp_path, 1) as server:
        holder = server.holder()
        with SharedJobs(server, holder).idle():
            pass
        assert (holder.held, tokens(server)) == (0, 1)


def test_one_that_is_killed_while_it_gives_or_takes_its_token_neither_loses_nor_adds_one(tmp_path: Path) -> None:
    """Each child does nothing else, so it is killed at any moment of it."""
    chance, seen = random.Random(7), set()
    with serving(tmp_path, 2) as server:
        for number in itertools.count():
            if number >= 400 and seen == {0, 1}:
                break
            holder = server.take()
            assert holder is not None
            ready, told = os.pipe()

            def work(jobs: SharedJobs, told: int) -> None:
                os.write(told, b".")
                while True:
                    with jobs.idle():
                        pass

            pid = forked(functools.partial(work, SharedJobs(server, holder), told))
            os.read(ready, 1)
            until = time.perf_counter() + chance.random() / 2000
            while time.perf_counter() < until:
                pass
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(ready)
            os.close(told)
            seen.add(holder.held)
            assert tokens(server) + holder.held == 2
            server.put(holder)
            assert tokens(server) == 2


def test_who_waits_for_a_token_that_is_lost_has_one_when_nobody_is_at_work(tmp_path: Path) -> None:
    """Whatever took it: a program that was killed, or one that reads what is not for it."""
    with serving(tmp_path, 1) as server:
        holder = server.take()
        assert holder is not None

        def wait() -> None:
            assert server.is_at_rest
            server.top_up()

        with SharedJobs(server, holder, wait).idle():
            assert os.read(server.handle, 1)
        assert (holder.held, tokens(server)) == (1, 0)


@pytest.mark.parametrize(
    ("program", "version", "words"),
    [
        ("ninja", "1.11.1", "-j3 build"),
        ("ninja", "1.9.0", "-j3 build"),
        ("ninja", "1.13.2.git.kitware", "build"),
        ("go", "", "build with 3"),
    ],
)
def test_what_knows_no_tokens_has_those_that_are_free_until_it_ends(
    tmp_path: Path, program: str, version: str, words: str
) -> None:
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / program
    said = "if [ $1 = --version ]; then echo $VERSION; exit; fi\nread go < go\n"
    tool.write_text(f'#!/bin/sh\n{said}echo "$@${{GOMAXPROCS:+ with $GOMAXPROCS}}"; exit 3\n')
    tool.chmod(0o755)
    os.mkfifo(tmp_path / "go")
    with serving(tmp_path, 5) as server:
        parts = [server.take() for _ in range(3)]  # of which it is one
        assert None not in parts
        environment = {**equipped(server), "VERSION": version}
        environment["PATH"] = environment["PATH"].replace(":", f":{tmp_path}/bin:", 1)
        with subprocess.Popen(
            [program, "build"], env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True
        ) as process:
            with (tmp_path / "go").open("w") as go:  # which waits until it is there
                free = tokens(server)
                go.write("go\n")
            assert process.stdout is not None
            assert (process.stdout.read(), process.wait(60)) == (f"{words}\n", 3)
        assert free == (2 if words == "build" else 0)
        assert tokens(server) == 2


def test_what_knows_no_tokens_has_one_job_when_none_is_free(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/go").write_text("#!/bin/sh\necho $GOMAXPROCS\n")
    (tmp_path / "bin/go").chmod(0o755)
    with serving(tmp_path, 1) as server:
        assert server.take() is not None
        environment = equipped(server)
        environment["PATH"] = environment["PATH"].replace(":", f":{tmp_path}/bin:", 1)
        for given, told in ({}, "1\n"), ({"GOMAXPROCS": "7"}, "7\n"):
            done = subprocess.run(["go", "build"], env={**environment, **given}, capture_output=True, text=True)
            assert (done.stdout, done.stderr, tokens(server)) == (told, "", 0)
