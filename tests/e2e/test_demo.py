# SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from allotment_recipes.store import ROOT_LENGTH

pytestmark = [pytest.mark.xdist_group("e2e-demo"), pytest.mark.timeout(600)]


def demo(folder: Path, repository: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run the demo of ``hello``, which compiles nothing; what it keeps is beside its folder."""
    command = [sys.executable, "-m", "allotment", "demo", "--once", "--only", "hello", *options]
    kept = ["--store", str(folder.with_name("store")), "--sources", str(folder.with_name("sources"))]
    command += ["--folder", str(folder), "--repository", str(repository), *kept]
    return subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)


def run_demo(folder: Path, repository: Path) -> dict[str, object]:
    done = demo(folder, repository)
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
    done = demo(scratch / "demo", repository)
    log = scratch / "demo/jobs/helloworld.log"
    assert done.returncode == 1
    assert done.stderr == f"error: the farm's verdict on helloworld is failed; the job's log is {log}.\n"
    assert "assert 1 == 2" in log.read_text()
    assert processes_below(scratch / "demo") == []


def test_demo_outside_a_checkout_says_what_is_missing(scratch: Path) -> None:
    done = demo(scratch / "demo", scratch)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        f"error: {scratch.resolve()} is not a git checkout. Clone the repository with git; the farm tests commits."
    )


def test_demo_of_a_release_that_is_not_committed_says_so(scratch: Path, repository: Path) -> None:
    done = demo(scratch / "demo", repository, "--only", "site")
    assert done.returncode == 1
    assert " holds no release static-site. Commit software/static-site/software.cfg, or choose others" in done.stderr
    assert processes_below(scratch / "demo") == []


def test_demo_with_a_store_at_a_path_that_is_too_long_starts_nothing(scratch: Path, repository: Path) -> None:
    folder = scratch / ("d" * ROOT_LENGTH)
    done = demo(folder / "demo", repository)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: the store's folder {folder.resolve()}/store ")
    assert line.endswith(" Choose a folder with a shorter path.")
    assert not (folder / "demo/farm").exists()
