# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""The recipe ``cron`` and the daemon that it starts: what is due when, and a real one with real jobs."""

import asyncio
import fcntl
import importlib.util
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.recipes.patience import until

from allotment.errors import AllotmentError
from allotment_recipes.crontab import Job, Schedule, read_entries
from allotment_recipes.programs.cron import Due, Entries, Plan, Runner, identity
from allotment_recipes.recipes import cron

Make = Callable[..., Any]
MINUTE = 60.0
DAY = 86400.0
START = 1795430280.0  # 2026-11-23 10:38 in UTC
EACH_MINUTE = Job("beat", Schedule("* * * * *"), "true")
DAILY = Job("daily", Schedule("0 12 * * *"), "true")


def runs(plan: Plan, now: float, *jobs: Job) -> list[tuple[str, int, bool]]:
    return [(due.job.name, due.missed, due.is_now) for due in plan.tick(now, list(jobs))]


def test_a_job_runs_once_each_time() -> None:
    plan = Plan("UTC")
    assert runs(plan, START + 1, EACH_MINUTE) == []
    assert plan.wake_at() == START + MINUTE
    assert runs(plan, START + 59, EACH_MINUTE) == []
    assert runs(plan, START + 60, EACH_MINUTE) == [("beat", 0, True)]
    assert runs(plan, START + 61, EACH_MINUTE) == []
    assert runs(plan, START + 125, EACH_MINUTE, DAILY) == [("beat", 0, True)]


def test_times_are_of_the_zone() -> None:
    tokyo = Job("tokyo", Schedule("0 20 * * *"), "true", zone="Asia/Tokyo")
    plan = Plan("Europe/Paris")
    plan.tick(START, [DAILY, tokyo])  # 12:00 in Paris and 20:00 in Tokyo are 11:00 in UTC
    assert plan.wake_at() == START + 22 * MINUTE
    assert runs(plan, START + 22 * MINUTE, DAILY, tokyo) == [("daily", 0, True), ("tokyo", 0, True)]


def test_a_machine_that_slept_makes_the_last_run_late_or_says_that_it_was_missed() -> None:
    plan = Plan("UTC")
    plan.tick(START, [EACH_MINUTE, DAILY])
    assert runs(plan, START + 10 * MINUTE + 5, EACH_MINUTE, DAILY) == [("beat", 9, True)]
    assert runs(plan, START + DAY, EACH_MINUTE, DAILY) == [("beat", 1000, False), ("daily", 1, False)]
    assert runs(plan, START + DAY + MINUTE, EACH_MINUTE, DAILY) == [("beat", 0, True)]


def test_a_clock_put_back_a_little_repeats_nothing() -> None:
    plan = Plan("UTC")
    plan.tick(START, [EACH_MINUTE])
    assert runs(plan, START + MINUTE, EACH_MINUTE) == [("beat", 0, True)]
    assert runs(plan, START - 500, EACH_MINUTE) == []
    assert runs(plan, START + MINUTE, EACH_MINUTE) == []
    assert runs(plan, START + 2 * MINUTE, EACH_MINUTE) == [("beat", 0, True)]


@pytest.mark.parametrize("ahead", [1000 * DAY, 660.0])
def test_a_clock_that_was_ahead_stops_nothing(ahead: float) -> None:
    plan = Plan("UTC")
    plan.tick(START + ahead, [EACH_MINUTE])
    assert runs(plan, START, EACH_MINUTE) == []
    assert runs(plan, START + MINUTE, EACH_MINUTE) == [("beat", 0, True)]


def test_what_came_while_it_was_down_is_known() -> None:
    known = [identity(EACH_MINUTE)]
    assert runs(Plan("UTC", START, known), START + 2 * MINUTE, EACH_MINUTE) == [("beat", 1, True)]
    assert runs(Plan("UTC", START, known), START + 2 * MINUTE, DAILY) == []
    new = Job("new", Schedule("* * * * *"), "true")
    assert runs(Plan("UTC", START, known), START + 2 * MINUTE, new) == []
    assert runs(Plan("UTC", START + DAY, known), START, EACH_MINUTE) == []


def test_a_schedule_that_never_comes_is_no_trouble() -> None:
    never = Job("never", Schedule("2020-01-01", is_calendar=True), "true")
    plan = Plan("UTC")
    assert runs(plan, START, never) == []
    assert plan.wake_at() == float("inf")


def test_entries_are_read_as_a_crontab() -> None:
    text = (
        '# a note\n\nLANG=C.UTF-8\nCRON_TZ = Europe/Paris\nA="two words"\n*/5 1-3 * * mon echo  a % b\n'
        '@daily true\n@calendar "Mon *:0/15" date\n'
    )
    variables = (("LANG", "C.UTF-8"), ("A", "two words"))
    assert list(read_entries("x", text)) == [
        Job("x", Schedule("*/5 1-3 * * mon"), "echo  a % b", variables, "Europe/Paris"),
        Job("x:2", Schedule("0 0 * * *"), "true", variables, "Europe/Paris"),
        Job("x:3", Schedule("Mon *:0/15", is_calendar=True), "date", variables, "Europe/Paris"),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("* * * *", "x, line 1: '* * * *' is not a time and a command"),
        ("61 * * * * true", "x, line 1: '61 * * * *' is not cron's: bad minute"),
        ("@reboot true", "x, line 1: '@reboot' is none of @hourly, @daily, "),
        ('@calendar "Foo" true', "x, line 1: 'Foo' is neither five fields of cron nor a calendar event: 'Foo' is not a weekday"),
        ("CRON_TZ=Nowhere\n@daily true", "x, line 2: 'Nowhere' is not a time zone such as Europe/Paris"),
    ],
)  # fmt: skip
def test_a_line_that_is_none_is_named(line: str, message: str) -> None:
    (found,) = read_entries("x", line)
    assert isinstance(found, str)
    assert found.startswith(message)


def test_the_folder_of_entries_is_read_again_when_it_changes(tmp_path: Path) -> None:
    said: list[str] = []
    entries = Entries(tmp_path / "cron.d", lambda name, text: said.append(f"{name}: {text}"))
    assert entries.read() == []
    (tmp_path / "cron.d").mkdir()
    (tmp_path / "cron.d/b").write_text("@daily true\nnonsense\n")
    (tmp_path / "cron.d/.hidden").write_text("@daily true\n")
    (tmp_path / "cron.d/link").symlink_to("b")
    (tmp_path / "cron.d/binary").write_bytes(b"\xff\xfe")
    assert [job.name for job in entries.read()] == ["b"]
    assert [job.name for job in entries.read()] == ["b"]
    assert len(said) == 3, "each is said once"
    assert said[0].startswith("cron: b, line 2: 'nonsense' is not a time and a command") or "binary" in said[0]
    (tmp_path / "cron.d/b").write_text("@daily true\n@hourly true\n")
    assert [job.name for job in entries.read()] == ["b", "b:2"]
    (tmp_path / "cron.d/b").unlink()
    assert entries.read() == []


def test_a_job_that_is_just_being_started_is_ended_as_the_others() -> None:
    said: list[str] = []

    async def start_and_end() -> None:
        runner = Runner(lambda name, text: said.append(text))
        runner.start(Due(Job("long", Schedule("* * * * *"), "sleep 60"), 0, True))
        await runner.end()

    asyncio.run(start_and_end())
    assert said[0].startswith("was killed by SIGTERM after ")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class Daemon:
    """A real one, started by the script that the recipe writes."""

    def __init__(self, folder: Path, script: Path) -> None:
        self.folder = folder
        self.script = script
        self.process = self.start()

    def start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([self.script], cwd=self.folder, env={"PATH": os.defpath, "TZ": "UTC"})

    def entry(self, name: str, text: str) -> None:
        (self.folder / "etc/cron.d").mkdir(parents=True, exist_ok=True)
        (self.folder / "etc/cron.d" / f".{name}").write_text(text)
        (self.folder / "etc/cron.d" / f".{name}").rename(self.folder / "etc/cron.d" / name)
        self.process.send_signal(signal.SIGHUP)

    def log(self) -> str:
        path = self.folder / "var/log/cron.log"
        return path.read_text() if path.exists() else ""

    def wait_for(self, pattern: str) -> "re.Match[str]":
        deadline = time.monotonic() + 60.0
        while time.monotonic() < deadline:
            found = re.search(pattern, self.log(), re.MULTILINE)
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError(f"{pattern} is not in {self.log()}")


@pytest.fixture
def daemon(make_recipe: Make, tmp_path: Path) -> Iterator[Daemon]:
    options = {"environment": "GREETING = good day"}
    (script,) = make_recipe(cron.Recipe, options).install()
    started = Daemon(tmp_path, script)
    try:
        started.wait_for("cron: begins")
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()
        started.process.wait()


def test_a_job_gets_its_environment_and_its_output_a_time(daemon: Daemon) -> None:
    daemon.entry("greet", 'NAME="the world"\n@calendar "*:*:*" echo "$GREETING, $NAME"; pwd; printf last; exit 3\n')
    daemon.wait_for(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000 greet: good day, the world$")
    daemon.wait_for(rf"greet: {daemon.folder}$")
    daemon.wait_for(r"greet: last$")
    daemon.wait_for(r"greet: ended with exit code 3 after \d+\.\d s$")


def test_sigterm_ends_the_jobs_and_an_overlapping_run_is_left_out(daemon: Daemon) -> None:
    daemon.entry("long", '@calendar "*:*:*" echo "shell $$"; sleep 1000 & echo "child $!"; wait\n')
    pids = [int(daemon.wait_for(rf"long: {name} (\d+)$")[1]) for name in ("shell", "child")]
    daemon.wait_for(r"long: is left out: the run before it goes on since \d+ s")
    daemon.process.terminate()
    assert daemon.process.wait(60) == 0
    daemon.wait_for(r"long: was killed by SIGTERM")
    daemon.wait_for(r"cron: ends$")
    until(lambda: not any(is_alive(pid) for pid in pids))


def test_a_second_daemon_for_the_same_partition_ends(daemon: Daemon) -> None:
    done = subprocess.run([daemon.script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("cron: another one runs with ")


def test_a_missed_run_is_told_after_a_restart(daemon: Daemon) -> None:
    daemon.entry("minutely", "* * * * * true\n")
    deadline = time.monotonic() + 60.0
    state = daemon.folder / "var/cron/state.json"
    while not state.exists() or "minutely" not in state.read_text():
        assert time.monotonic() < deadline
        daemon.entry("now", '@calendar "*:*:*" true\n')  # what is due is noted
        time.sleep(0.1)
    daemon.process.kill()
    daemon.process.wait()
    with state.with_name(".state.json.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a job that was just being started has it too
    text = re.sub(r'"seen": [\d.]+', f'"seen": {time.time() - 7200}', state.read_text())
    state.write_text(text)
    daemon.process = daemon.start()
    daemon.wait_for(r"minutely: 1\d\d runs were missed")


def test_the_log_may_be_renamed(daemon: Daemon) -> None:
    daemon.entry("beat", '@calendar "*:*:*" echo here\n')
    daemon.wait_for("beat: here")
    (daemon.folder / "var/log/cron.log").rename(daemon.folder / "var/log/cron.log.1")
    daemon.wait_for("beat: here")


def test_the_recipe_says_where_things_are(make_recipe: Make, tmp_path: Path) -> None:
    made = make_recipe(
        cron.Recipe,
        {
            "cron-entries": "jobs",
            "log": "cron.log",
            "cronstamps": "stamps",
            "wrapper-path": "bin/cron",
            "time-zone": "Europe/Paris",
        },
    )
    assert made.install() == [tmp_path / "bin/cron"]
    text = (tmp_path / "bin/cron").read_text()
    assert made.update() == [tmp_path / "bin/cron"]
    assert (tmp_path / "bin/cron").read_text() == text
    for word in (tmp_path / "jobs", tmp_path / "cron.log", tmp_path / "stamps/state.json", "Europe/Paris"):
        assert f" {word} " in text.replace('"', "")
    assert {made.raw["cron-entries"], made.raw["log"]} == {str(tmp_path / "jobs"), str(tmp_path / "cron.log")}


def test_the_recipe_names_what_is_wrong(make_recipe: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AllotmentError) as caught:
        make_recipe(cron.Recipe, {"time-zone": "Nowhere"})
    assert str(caught.value) == (
        "[part] time-zone: 'Nowhere' is not a time zone such as Europe/Paris. Write a name of the IANA's list."
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(AllotmentError) as caught:
        make_recipe(cron.Recipe, {})
    assert str(caught.value) == (
        "[part] needs the Python package cronsim, which is not installed."
        " Install it where buildout runs: pip install 'cronsim>=2.7'."
    )
