# SPDX-License-Identifier: Apache-2.0
"""S2 in short: builds of small parts by `allot build`, killed at random moments and run again."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(400)


def test_a_build_that_is_killed_at_any_moment_loses_nothing() -> None:
    """`python -m benchmarks.s02` is the long form, with real components; its seed is drawn anew each time."""
    command = [sys.executable, "-m", "benchmarks.s02", "--quick", "--seed=2", "--json"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["id"], result["runs"], result["lost"], result["holds"]) == ("S2", 3, 0, True)
