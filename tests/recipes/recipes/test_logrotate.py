# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""The recipes ``logrotate`` and ``logrotate.entry``, and the program that rotates: no line is ever lost."""

import fcntl
import gzip
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.errors import AllotmentError
from allotment_recipes.crontab import read_entries
from allotment_recipes.programs.logrotate import rotate
from allotment_recipes.recipes import logrotate, logrotate_entry

Make = Callable[..., Any]
HOUR = 3600.0
DAY = 86400.0
ROOT = Path(__file__).parents[3]
START = 1795430280.0  # Monday 2026-11-23 10:38 in UTC


class Logs:
    """A partition with entries, rotated at times of the test's choice."""

    def __init__(self, folder: Path, make_recipe: Make) -> None:
        self.folder = folder
        self.make_recipe = make_recipe
        self.said: list[str] = []
        self.log = folder / "site.log"

    def entry(self, **options: str) -> None:
        given = {name.replace("_", "-"): value for name, value in options.items()}
        self.make_recipe(logrotate_entry.Recipe, {"log": "*.log", **given}).install()

    def rotate(self, now: float) -> int:
        self.said.clear()
        return rotate(self.folder / "etc/logrotate.d", self.folder / "state.json", now, self.said.append)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir() if "site.log" in path.name)

    def lines(self) -> list[str]:
        """Return all lines that were ever logged and are there, in order."""
        found = []
        for path in sorted(self.folder.rglob("site.log*"), key=lambda path: (path.name == "site.log", path.name)):
            found += (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).split()
        return [line.decode() for line in found]


@pytest.fixture
def logs(tmp_path: Path, make_recipe: Make) -> Logs:
    return Logs(tmp_path, make_recipe)


def test_a_log_is_rotated_each_day_and_compressed_a_day_later(logs: Logs) -> None:
    logs.entry()
    for day in range(3):
        logs.log.write_text(f"{day}\n")
        logs.log.chmod(0o640)
        assert logs.rotate(START + day * DAY) == 0
        assert logs.rotate(START + day * DAY + HOUR) == 0
    assert logs.names() == ["site.log-20261124-103800.gz", "site.log-20261125-103800"]
    assert logs.lines() == ["1", "2"], "the first day is only noted, and the text of the second day overwrote it"
    assert (logs.folder / "site.log-20261124-103800.gz").stat().st_mode & 0o777 == 0o640
    assert json.loads((logs.folder / "state.json").read_text())["pending"] == []


@pytest.mark.parametrize(
    ("frequency", "early", "late"),
    [("hourly", 60.0, HOUR), ("daily", HOUR, DAY), ("weekly", 6 * DAY, 7 * DAY), ("monthly", 7 * DAY, 8 * DAY), ("yearly", 38 * DAY, 39 * DAY)],
)  # fmt: skip
def test_each_frequency(logs: Logs, frequency: str, early: float, late: float) -> None:
    logs.entry(frequency=frequency)
    logs.log.write_text("x\n")
    for after in (0.0, early):
        logs.rotate(START + after)
        assert logs.names() == ["site.log"]
    logs.rotate(START + late)
    assert len(logs.names()) == 1 and logs.names() != ["site.log"]


def test_the_oldest_are_removed(logs: Logs) -> None:
    logs.entry(rotate_num="2", nocompress="true")
    for day in range(5):
        with logs.log.open("a") as file:
            file.write(f"{day}\n")
        logs.rotate(START + day * DAY)
    assert logs.names() == ["site.log-20261126-103800", "site.log-20261127-103800"]
    assert logs.lines() == ["3", "4"]


def test_an_empty_log_stays(logs: Logs) -> None:
    logs.entry()
    logs.log.touch()
    logs.rotate(START)
    logs.rotate(START + DAY)
    assert logs.names() == ["site.log"]


def test_a_large_log_does_not_wait(logs: Logs) -> None:
    logs.entry(size="1k", delaycompress="false")
    logs.log.write_text("x" * 1023)
    logs.rotate(START)
    assert logs.names() == ["site.log"]
    for _ in range(2):
        logs.log.write_text("x" * 1024)
        logs.rotate(START)
    assert logs.names() == ["site.log-20261123-103800.1.gz", "site.log-20261123-103800.gz"], "two in one second"


def test_copytruncate_keeps_the_open_file(logs: Logs) -> None:
    logs.entry(copytruncate="true")
    with logs.log.open("a") as service:
        service.write("one\n")
        service.flush()
        logs.rotate(START)
        logs.rotate(START + DAY)
        service.write("two\n")
    assert logs.log.read_text() == "two\n"
    assert logs.lines() == ["one", "two"]


def test_pre_and_post_run_once_around_the_renaming(logs: Logs) -> None:
    note = logs.folder / "note"
    (logs.folder / "other.log").write_text("x")
    logs.log.write_text("x")
    logs.entry(
        pre=f"echo pre; ls {logs.folder}/*.log > {note}",
        post=f"echo post >> {note}; ls {logs.folder}/*.log >> {note}; true",
    )
    logs.rotate(START)
    assert not note.exists()
    assert logs.rotate(START + DAY) == 0
    assert note.read_text().split() == [f"{logs.folder}/other.log", f"{logs.folder}/site.log", "post"]


def test_nothing_is_rotated_when_pre_fails(logs: Logs) -> None:
    logs.entry(pre="exit 3")
    logs.log.write_text("x")
    logs.rotate(START)
    assert logs.rotate(START + DAY) == 1
    assert logs.said == ["part.json: pre ended with exit code 3; nothing is rotated"]
    assert logs.names() == ["site.log"]


def test_nothing_is_compressed_before_post_has_succeeded(logs: Logs) -> None:
    logs.entry(delaycompress="false", post=f"test -e {logs.folder}/ready")
    with logs.log.open("a") as service:
        service.write("one\n")
        service.flush()
        logs.rotate(START)
        assert logs.rotate(START + DAY) == 1
        assert logs.said[-1] == "part.json: post ended with exit code 1; it is run again the next time"
        service.write("two\n")
        service.flush()
        assert logs.rotate(START + DAY + HOUR) == 1
        assert logs.names() == ["site.log-20261124-103800"]
    (logs.folder / "ready").touch()
    assert logs.rotate(START + DAY + 2 * HOUR) == 0
    logs.log.write_text("three\n")
    assert logs.rotate(START + 2 * DAY) == 0
    assert [name[-3:] for name in logs.names()] == [".gz", ".gz"]
    assert logs.lines() == ["one", "two", "three"]


def test_rotated_files_go_to_another_folder(logs: Logs) -> None:
    logs.entry(backup="old")
    logs.log.write_text("x\n")
    logs.rotate(START)
    logs.rotate(START + DAY)
    assert (logs.folder / "old/site.log-20261124-103800").read_text() == "x\n"


def test_names_that_would_meet_in_one_folder_are_refused(logs: Logs) -> None:
    (logs.folder / "a").mkdir()
    (logs.folder / "a/site.log").write_text("x")
    logs.log.write_text("x")
    logs.entry(log="*.log\na/*.log", backup="old")
    assert logs.rotate(START) == 1
    assert logs.said == [
        f"part.json: {logs.folder}/a/site.log and {logs.folder}/site.log would share names in {logs.folder}/old"
    ]


def test_a_log_of_two_entries_is_left_to_the_first(logs: Logs) -> None:
    logs.entry(name="a")
    logs.entry(name="b")
    logs.log.write_text("x")
    assert logs.rotate(START) == 1
    assert logs.said == [f"b.json: {logs.log} is a log of a.json too; it is left to that"]


def test_links_and_what_is_rotated_already_are_no_logs(logs: Logs) -> None:
    logs.entry(log="*")
    logs.log.write_text("x\n")
    (logs.folder / "link").symlink_to("/etc/passwd")
    (logs.folder / "dangling").symlink_to("nowhere")
    for day in range(3):
        assert logs.rotate(START + day * DAY) == 0
    assert (logs.folder / "link").is_symlink()
    assert logs.lines() == ["x"]


def test_a_broken_entry_hinders_no_other(logs: Logs) -> None:
    logs.entry()
    folder = logs.folder / "etc/logrotate.d"
    (folder / "a.json").write_text("{")
    (folder / "b.json").write_text('{"format": 2}')
    (folder / "c.json").write_text('{"format": 1, "log": ["x"]}')
    logs.log.write_text("x")
    assert [logs.rotate(START), logs.rotate(START + DAY)] == [3, 3]
    assert [text.partition(":")[0] for text in logs.said] == [
        "a.json",
        "b.json",
        "c.json",
        f"{logs.log} is now {logs.log}-20261124-103800",
    ]
    assert "missing option" in logs.said[2]


def test_a_state_that_was_cut_short_counts_as_none(logs: Logs) -> None:
    logs.entry()
    logs.log.write_text("x")
    (logs.folder / "state.json").write_text('{"rotated": {')
    assert logs.rotate(START) == 0
    assert logs.names() == ["site.log"]


def test_two_runs_at_once_are_one(logs: Logs) -> None:
    with (logs.folder / ".state.json.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert logs.rotate(START) == 1
    assert logs.said == [f"another run with {logs.folder}/state.json goes on"]


KILLED = """
import os, sys
from pathlib import Path
from allotment_recipes.programs import logrotate
left = int(sys.argv[2])
def dying(call):
    def wrapped(*arguments, **named):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)
        return call(*arguments, **named)
    return wrapped
for owner, names in ((os, ("replace", "truncate", "fsync")), (Path, ("rename", "unlink"))):
    for name in names:
        setattr(owner, name, dying(getattr(owner, name)))
folder = Path(sys.argv[1])
logrotate.rotate(folder / "etc/logrotate.d", folder / "state.json", float(sys.argv[3]), print)
"""


@pytest.mark.parametrize("options", [{"delaycompress": "false"}, {"delaycompress": "false", "copytruncate": "true"}])
def test_a_run_killed_at_any_step_loses_no_line(logs: Logs, options: dict[str, str]) -> None:
    logs.entry(**options)
    logged: list[str] = []
    for kill_at in range(30):
        line = f"line-{kill_at:02}"
        with logs.log.open("a") as service:
            service.write(f"{line}\n")
        logged.append(line)
        words = [sys.executable, "-c", KILLED, str(logs.folder), str(kill_at), str(START + kill_at * DAY)]
        code = subprocess.run(words, timeout=30, check=False, stdout=subprocess.DEVNULL).returncode
        assert code in (0, -signal.SIGKILL)
        if "copytruncate" not in options:
            assert logs.rotate(START + kill_at * DAY + HOUR) == 0
        found = logs.lines()
        assert sorted(set(found)) == logged
        if code == 0:
            break
    else:
        raise AssertionError("it was killed every time")
    if "copytruncate" not in options:
        assert logs.lines() == logged


def test_each_option_is_checked(make_recipe: Make) -> None:
    for options, message in (
        ({}, "[part] log: missing option. Add 'log = ...'."),
        ({"log": ""}, "[part] log: is empty. Write the path of a log."),
        ({"log": "a", "name": "a/b"}, "[part] name: 'a/b' is not an entry's name. Use letters, digits, '-', '.', '_'."),
        (
            {"log": "a", "frequency": "dayly"},
            "[part] frequency: 'dayly' is not one of its values. Did you mean 'daily'?",
        ),
        ({"log": "a", "rotate-num": "0"}, "[part] rotate-num: 0 is not above zero. Write it like 30."),
        ({"log": "a", "size": "1 GB"}, "[part] size: '1 GB' is not a size. Write it like 100M."),
    ):
        with pytest.raises(AllotmentError, match=re.escape(message)):
            make_recipe(logrotate_entry.Recipe, options)
    with pytest.raises(AllotmentError, match=re.escape("[part] frequency: '@reboot' is none of @hourly")):
        make_recipe(logrotate.Recipe, {"frequency": "@reboot"})


def test_the_job_of_cron_rotates(make_recipe: Make, tmp_path: Path) -> None:
    options = {
        "cron-entries": "jobs",
        "logrotate-entries": "logs",
        "cron-log": "c.log",
        "state-file": "s/state.json",
        "frequency": "@daily",
    }
    made = make_recipe(logrotate.Recipe, options)
    assert made.install() == [tmp_path / "jobs/logrotate", tmp_path / "logs/cron.json"] == made.update()
    (job,) = read_entries("x", (tmp_path / "jobs/logrotate").read_text())
    assert not isinstance(job, str)
    (tmp_path / "c.log").write_text("x")
    subprocess.run(["/bin/sh", "-c", job.command], env={}, check=True, timeout=30)
    assert list(json.loads((tmp_path / "s/state.json").read_text())["rotated"]) == [str(tmp_path / "c.log")]
    (tmp_path / "logs/cron.json").write_text("{")
    done = subprocess.run(
        ["/bin/sh", "-c", job.command], env={}, check=False, timeout=30, stdout=subprocess.PIPE, text=True
    )
    assert done.returncode == 1
    assert done.stdout.startswith("cron.json: ")


def test_a_log_may_have_any_name(logs: Logs) -> None:
    name = os.fsdecode(b"\xff.log")
    logs.entry(size="1")
    (logs.folder / name).write_text("line\n")
    words = [sys.executable, "-m", "allotment_recipes.programs.logrotate", "--entries", "etc/logrotate.d"]
    done = subprocess.run(
        [*words, "--state", "s"],
        cwd=logs.folder,
        env={"LC_ALL": "C.UTF-8", "PYTHONUTF8": "0"},
        check=False,
        timeout=30,
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\udcff.log is now " in done.stdout
    assert not (logs.folder / name).exists()


def test_the_how_to_is_true(partition: Any) -> None:
    page = (ROOT / "docs/howto/add-log-rotation.md").read_text()
    lines, with_post = re.findall(r"```ini\n(.*?)```", page, re.DOTALL)
    assert len(lines.strip().splitlines()) == 3
    profile = f"[buildout]\nextends = {ROOT}/software/stack/instance.cfg\nparts = site-log\n\n"
    result = partition.run(profile + lines)
    assert result.outcome == "done", result.error
    folder = partition.folder
    assert (folder / "etc/service/cron").exists()
    assert sorted(path.name for path in (folder / "etc/logrotate.d").iterdir()) == ["cron.json", "site-log.json"]
    (folder / "var/log/site.log").write_text("x\n")
    for day in range(3):
        assert rotate(folder / "etc/logrotate.d", folder / "state.json", START + day * DAY, print) == 0
        (folder / "var/log/site.log").write_text("x\n")
    names = sorted(path.name for path in (folder / "var/log").iterdir())
    assert names == ["site.log", "site.log-20261124-103800.gz", "site.log-20261125-103800"]
    assert partition.run(profile + with_post).outcome == "done"
    assert json.loads(partition.text("etc/logrotate.d/site-log.json"))["post"].endswith("var/site.pid)")
    assert partition.run("[buildout]\nparts =\n").outcome == "done"
    assert not (folder / "etc/logrotate.d/site-log.json").exists()
    assert (folder / "var/log/site.log").exists()
    options = set(re.findall(r"^\| `([a-z-]+) = ", page, re.MULTILINE))
    fields = {name.replace("_", "-") for name in logrotate_entry.Options.__dataclass_fields__}
    assert options <= fields
