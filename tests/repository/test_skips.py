# SPDX-License-Identifier: Apache-2.0
"""Where skips are forbidden, each kind of skip is a failure that says what is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

TESTS = """
import pytest

def test_call(): pytest.skip("needs the moon")

@pytest.mark.skipif(True, reason="needs the sun")
def test_mark(): pass

@pytest.mark.xfail
def test_expected_failure(): raise OSError
"""
MODULE = "import pytest\npytest.skip('needs the sea', allow_module_level=True)\n"


def run(folder: Path, root: Path, forbidden: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(root / "tests" / "conftest.py", folder)
    (folder / "test_functions.py").write_text(TESTS)
    (folder / "test_module.py").write_text(MODULE)
    environment = {**os.environ, "ALLOTMENT_FORBID_SKIPS": forbidden}
    options = ["-q", "-rs", "-p", "no:cacheprovider", "--continue-on-collection-errors", "--rootdir", str(folder)]
    command = [sys.executable, "-m", "pytest", *options, "."]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=90, check=False)


def test_forbidden_skips_are_failures_and_expected_failures_are_not(tmp_path: Path, root: Path) -> None:
    done = run(tmp_path, root, "1")
    for need in ("the moon", "the sun", "the sea"):
        assert f"skipped where skips are forbidden: Skipped: needs {need}" in done.stdout
    assert "1 failed, 1 xfailed, 2 errors" in done.stdout
    assert done.returncode != 0


def test_elsewhere_a_skip_says_what_it_needs(tmp_path: Path, root: Path) -> None:
    done = run(tmp_path, root, "")
    assert "3 skipped, 1 xfailed" in done.stdout
    assert all(need in done.stdout for need in ("needs the moon", "needs the sun", "needs the sea"))
    assert done.returncode == 0
