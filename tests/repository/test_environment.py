# SPDX-License-Identifier: Apache-2.0
"""Set-up: what is missing is named with its package, and what was interrupted is not taken as good."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

FOLDERS = ("core", "recipes", "promises", "node", "master", "testfarm")


@pytest.fixture
def environment(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("requirements/environment.py")


@pytest.fixture
def checkout(tmp_path: Path, root: Path) -> Path:
    """A checkout, in a path with a space, whose locks are empty and whose distributions can't be installed."""
    folder = tmp_path / "a checkout"
    (folder / "requirements").mkdir(parents=True)
    shutil.copy(root / "requirements" / "environment.py", folder / "requirements")
    shutil.copy(root / "Makefile", folder)
    for lock in ("runtime.lock", "tests.lock"):
        (folder / "requirements" / lock).write_text("# nothing\n")
    for name in FOLDERS:
        (folder / name).mkdir()
        (folder / name / "pyproject.toml").write_text(f'[project]\nname = "{name}"\nversion = "1"\n')
    return folder


def test_an_old_python_is_named_with_the_package_to_install(environment: ModuleType) -> None:
    assert environment.missing((3, 9, 2), True, True) == (
        "Python 3.11 is needed, this is 3.9.2. apt-get install python3.11 python3.11-venv, then add PYTHON=python3.11"
    )


def test_a_python_without_ensurepip_is_named_with_the_package_to_install(environment: ModuleType) -> None:
    assert environment.missing((3, 11, 2), False, True) == (
        "this Python has no ensurepip. apt-get install python3-venv"
    )


def test_missing_git_is_named_with_the_package_to_install(environment: ModuleType) -> None:
    assert environment.missing((3, 12, 0), True, False) == "git is needed. apt-get install git"


def test_a_complete_machine_lacks_nothing(environment: ModuleType) -> None:
    assert environment.missing((3, 11, 2), True, True) == ""


def test_make_without_python_says_which_package(checkout: Path) -> None:
    done = subprocess.run(
        ["make", "demo", "PYTHON=python3-absent"], cwd=checkout, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == "error: python3-absent is not here. apt-get install python3 python3-venv"


def test_an_old_python_can_read_the_set_up_script(root: Path) -> None:
    import ast

    ast.parse((root / "requirements" / "environment.py").read_text(), feature_version=(3, 7))


@pytest.mark.xdist_group("heavy")
def test_a_failed_set_up_says_where_its_log_is_and_is_not_taken_as_good(checkout: Path) -> None:
    command = [sys.executable, "requirements/environment.py", "tests"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1
    assert f"error: tests: set-up failed, see {checkout}/var/env/tests.log" in done.stderr
    assert not (checkout / "var/env/tests/own.stamp").exists()


@pytest.mark.xdist_group("heavy")
def test_an_interrupted_set_up_leaves_no_stamp(checkout: Path) -> None:
    process = subprocess.Popen([sys.executable, "requirements/environment.py", "tests"], cwd=checkout)
    deadline = time.monotonic() + 30
    while not (checkout / "var/env/tests").exists() and time.monotonic() < deadline:
        os.sched_yield()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert list((checkout / "var/env/tests").glob("*.stamp")) == []
