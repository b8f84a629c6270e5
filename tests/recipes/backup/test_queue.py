# SPDX-License-Identifier: Apache-2.0

"""The recipe ``backup.queue``: its service runs real commands."""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from allotment.errors import AllotmentError
from allotment_recipes.programs.backup_queue import Queue
from allotment_recipes.recipes import backup_queue
from allotment_recipes.resilience.locks import Busy, locked

Make = Callable[..., Any]
Until = Callable[..., None]


def run(*words: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120, check=False)


@contextmanager
def working(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([folder / "etc/service/part"], stderr=log, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def is_free(lock: Path) -> bool:
    with contextlib.suppress(Busy), locked(lock):
        return True
    return False


def test_notifications_are_kept_coalesced_and_run_one_at_a_time(
    make_recipe: Make, tmp_path: Path, until: Until
) -> None:
    gate = tmp_path / "gate"
    wait = f"while ! test -e {gate}; do sleep 0.02; done"
    options = {
        "callback-push": f"echo begin push >> told; {wait}; echo end push >> told",
        "callback-mail": "echo mail >> told",
        "folder": "queue",
    }
    made = make_recipe(backup_queue.Recipe, options)
    made.install()
    told = tmp_path / "queue/told"
    for name in ("push", "push", "push", "mail"):
        assert run(made.raw["notify"], name).stderr == ""
    with working(tmp_path):
        until(lambda: lines(told) == ["begin push"])
        for name in ("push", "push", "mail"):
            run(made.raw["notify"], name)
        gate.touch()
        until(lambda: lines(tmp_path / "log")[-1:] == ["mail: done"])
    assert lines(told) == ["begin push", "end push", "begin push", "end push", "mail"]
    assert [list((tmp_path / "queue" / part).iterdir()) for part in ("waiting", "running")] == [[], []]


def test_what_fails_is_run_again_later_each_time(make_recipe: Make, tmp_path: Path, until: Until) -> None:
    made = make_recipe(backup_queue.Recipe, {"callback-a": "echo x >> told; test -e ok", "retry": "0.05"})
    made.install()
    run(made.raw["notify"], "a")
    with working(tmp_path):
        until(lambda: "It is run again in 0.1 seconds." in "".join(lines(tmp_path / "log")))
        (tmp_path / "var/part/ok").touch()
        until(lambda: lines(tmp_path / "log")[-1] == "a: done")
    assert "a: echo x >> told; test -e ok failed with exit code 1. " in lines(tmp_path / "log")[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_callback_that_was_cut_is_run_again(make_recipe: Make, tmp_path: Path, until: Until, number: int) -> None:
    made = make_recipe(backup_queue.Recipe, {"callback-a": "echo $$ >> told; test -e ok || exec sleep 600"})
    made.install()
    told = tmp_path / "var/part/told"
    run(made.raw["notify"], "a")
    with working(tmp_path) as process:
        until(lambda: lines(told))
        process.send_signal(number)
        process.wait(60)
    if number == signal.SIGKILL:  # the callback still runs, and nobody else begins
        assert run(tmp_path / "etc/service/part").returncode == 75
        os.kill(int(lines(told)[0]), signal.SIGKILL)
        until(lambda: is_free(tmp_path / "var/part/lock"))
    (tmp_path / "var/part/ok").touch()
    with working(tmp_path):
        until(lambda: not list((tmp_path / "var/part/running").iterdir()))
    assert len(lines(told)) == 2


STARTS = """\
import os, pathlib, signal, subprocess, sys
from allotment_recipes.resilience.commands import run_all
class Ended(subprocess.Popen):
    def __init__(self, *words, **options):
        super().__init__(*words, **options)
        os.kill(os.getpid(), signal.SIGTERM)
subprocess.Popen = Ended
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))
run_all(["exec sleep 600"], pathlib.Path(), 600.0, {})
"""


def test_who_is_ended_while_a_command_starts_ends_it() -> None:
    """It would hold the output, and the lock, for as long as it runs."""
    done = subprocess.run([sys.executable, "-c", STARTS], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (7, "")


def test_a_notification_that_is_taken_while_it_is_looked_at_is_no_problem(make_recipe: Make, tmp_path: Path) -> None:
    made = make_recipe(backup_queue.Recipe, {"callback-a": "true", "max-age": "0.001"})
    made.install()
    waiting = tmp_path / "var/part/waiting"
    waiting.mkdir(parents=True)
    (waiting / "a").symlink_to("gone")  # it is listed, and can't be looked at
    look = shlex.split(json.loads((tmp_path / "etc/promise/part.json").read_text())["options"]["command"])
    done = run(*look)
    assert (done.returncode, done.stderr) == (0, "")


def test_after_a_takeover_nothing_is_taken_and_nothing_runs(make_recipe: Make, tmp_path: Path, until: Until) -> None:
    made = make_recipe(
        backup_queue.Recipe, {"callback-a": "echo x >> told", "takeover-file": "over", "max-age": "0.001"}
    )
    made.install()
    run(made.raw["notify"], "a")
    look = shlex.split(json.loads((tmp_path / "etc/promise/part.json").read_text())["options"]["command"])
    assert "error: a waits for 0.0 hours. See the log of the queue." in run(*look).stderr
    (tmp_path / "over").touch()
    assert run(*look).returncode == 0
    refused = run(made.raw["notify"], "a")
    assert (refused.returncode, "error: this instance has taken over. " in refused.stderr) == (1, True)
    with working(tmp_path) as process:
        until(lambda: "this instance has taken over: no callback runs any more" in lines(tmp_path / "log"))
        assert process.poll() is None
    assert not (tmp_path / "var/part/told").exists()


def test_a_callback_that_takes_too_long_or_is_unknown_is_told(make_recipe: Make, tmp_path: Path) -> None:
    queue = Queue(tmp_path, {"slow": "sleep 600"}, timeout=0.1, retry=1000.0)
    for name in ("gone", "slow"):
        (tmp_path / "waiting" / name).touch()
    assert queue.next(0.0) == "slow"
    queue.run("slow")
    assert queue.next(0.0) == ""
    assert queue.next(1e12) == "slow"
    made = make_recipe(backup_queue.Recipe, {"callback-push": "true"})
    made.install()
    assert "error: there is no callback 'pusch'. Did you mean 'push'?" in run(made.raw["notify"], "pusch").stderr


def test_a_second_run_changes_nothing_and_notifications_stay(make_recipe: Make, tmp_path: Path) -> None:
    options = {"callback-a": "true", "timeout": "7", "services": "run"}
    made = make_recipe(backup_queue.Recipe, options)
    paths = made.install()
    assert [str(path.relative_to(tmp_path)) for path in paths] == [
        "run/part",
        "bin/part-notify",
        "etc/promise/part.json",
    ]
    before = [path.read_bytes() for path in paths]
    assert make_recipe(backup_queue.Recipe, options).update() == paths
    assert [path.read_bytes() for path in paths] == before
    assert "--timeout 7.0" in paths[0].read_text()
    assert backup_queue.Recipe.kept(made.raw) == [str(tmp_path / "var/part")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "[part] callback-*: there is none. Add one, such as callback-push = ${buildout:directory}/bin/push."),
        ({"callback-a/b": "true"}, "[part] callback-a/b: 'a/b' is not a name. Use small letters, digits and '-'."),
        ({"callback-a": " "}, "[part] callback-a: is empty. Write a command."),
        ({"callback-a": "true", "retry": "0"}, "[part] retry: 0 is not above zero."),
        ({"callback-a": "true", "timeout": "0"}, "[part] timeout: 0 is not above zero."),
        ({"callback-a": "true", "max-age": "0"}, "[part] max-age: 0 is not above zero."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(make_recipe: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(backup_queue.Recipe, options)
