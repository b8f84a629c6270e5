# SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.xdist_group("e2e-demo"), pytest.mark.timeout(600)]


def run_demo(folder: Path, repository: Path) -> dict[str, object]:
    command = [sys.executable, "-m", "allotment", "demo", "--once"]
    arguments = ["--folder", str(folder), "--repository", str(repository)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    summary: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return summary


def processes_below(folder: Path) -> list[str]:
    """Every process that was started for ``folder``."""
    found = []
    for process in psutil.process_iter(["cmdline", "pid"]):
        words = process.info["cmdline"] or []
        if any(str(folder) in word for word in words) and process.info["pid"] != os.getpid():
            found.append(" ".join(words))
    return found


def test_demo_once_takes_a_commit_to_a_url_and_leaves_no_process(scratch: Path, repository: Path) -> None:
    summary = run_demo(scratch / "demo", repository)
    assert summary["releases"] == ["helloworld"]
    assert summary["verdicts"] == {"helloworld": "passed"}
    assert set(summary["urls"]) == {"results", "master", "hello"}
    assert set(summary["seconds"]) == {"start", "prove", "deploy", "verify"}
    assert processes_below(scratch / "demo") == []


def test_demo_of_a_release_that_fails_names_the_jobs_log(
    scratch: Path, repository: Path, commit: Callable[[Path, str], str]
) -> None:
    (repository / "software/helloworld/test/test_helloworld.py").write_text("def test_nothing():\n    assert 1 == 2\n")
    commit(repository, "software: break it")
    command = [sys.executable, "-m", "allotment", "demo", "--once", "--folder", str(scratch / "demo")]
    done = subprocess.run(
        [*command, "--repository", str(repository)], capture_output=True, text=True, timeout=500, check=False
    )
    log = scratch / "demo/farm/logs/1/1.log"
    assert done.returncode == 1
    assert done.stderr == f"error: the farm's verdict on helloworld is failed; the job's log is {log}.\n"
    assert "assert 1 == 2" in log.read_text()
    assert processes_below(scratch / "demo") == []


def test_demo_outside_a_checkout_says_what_is_missing(scratch: Path) -> None:
    command = [sys.executable, "-m", "allotment", "demo", "--once", "--repository", str(scratch)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        f"error: {scratch.resolve()} is not a git checkout. Clone the repository with git; the farm tests commits."
    )
