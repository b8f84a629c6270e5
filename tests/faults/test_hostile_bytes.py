# SPDX-License-Identifier: Apache-2.0
"""S6 in short: archives and profiles that were changed at random, unpacked and read."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(400)


def test_changed_archives_and_profiles_are_refused_or_harm_nobody() -> None:
    """`python -m benchmarks.s06` is the long form; its seed is drawn anew each time."""
    command = [sys.executable, "-m", "benchmarks.s06", "--quick", "--seed=6", "--json"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["id"], result["lost"], result["holds"]) == ("S6", 0, True)
    assert result["runs"] > 300
    assert 0 < result["refused"] < result["runs"]
