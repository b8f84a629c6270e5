# SPDX-License-Identifier: Apache-2.0
"""S4 in short: builds of small parts by `allot build` whose disk is full at each of their stages, and run again."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(400)


def test_a_build_whose_disk_is_full_says_so_and_loses_nothing() -> None:
    """`python -m benchmarks.s04` is the long form, with real components; its seed is drawn anew each time."""
    command = [sys.executable, "-m", "benchmarks.s04", "--quick", "--seed=4", "--json"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    if "no disk can be mounted" in done.stderr:
        pytest.skip("needs user namespaces")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["id"], result["runs"], result["lost"], result["holds"]) == ("S4", 7, 0, True)
