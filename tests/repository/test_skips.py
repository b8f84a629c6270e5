# SPDX-License-Identifier: Apache-2.0
"""Where skips are forbidden, each kind of skip is a failure that says what is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

KINDS = {
    "a call": "import pytest\ndef test_it(): pytest.skip('needs the moon')\n",
    "a mark": "import pytest\n@pytest.mark.skipif(True, reason='needs the moon')\ndef test_it(): pass\n",
    "a module": "import pytest\npytest.skip('needs the moon', allow_module_level=True)\n",
}


def run(folder: Path, text: str, root: Path, forbidden: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(root / "tests" / "conftest.py", folder)
    (folder / "test_it.py").write_text(text)
    environment = {**os.environ, "ALLOTMENT_FORBID_SKIPS": forbidden}
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "--rootdir", str(folder), "."]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_forbidden_skip_is_a_failure(kind: str, tmp_path: Path, root: Path) -> None:
    done = run(tmp_path, KINDS[kind], root, "1")
    assert done.returncode != 0
    assert "skipped where skips are forbidden: Skipped: needs the moon" in done.stdout


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_elsewhere_a_skip_says_what_it_needs(kind: str, tmp_path: Path, root: Path) -> None:
    done = run(tmp_path, KINDS[kind], root, "")
    assert "1 skipped" in done.stdout and "needs the moon" in done.stdout


def test_an_expected_failure_is_no_skip(tmp_path: Path, root: Path) -> None:
    text = "import pytest\n@pytest.mark.xfail\ndef test_it(): raise OSError\n"
    assert run(tmp_path, text, root, "1").returncode == 0
