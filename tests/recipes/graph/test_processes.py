# SPDX-License-Identifier: Apache-2.0
"""What a killed part has left at work."""

import subprocess
import sys

BREEDING = """\
import os, time
for _ in range(500):  # each starts the next and ends
    if os.fork():
        os._exit(0)
    time.sleep(0.002)
time.sleep(30)
"""
KILLING = f"""\
import os, subprocess, sys
from allotment_recipes.graph.processes import Adoption, _children
adoption = Adoption()
subprocess.run([sys.executable, "-c", {BREEDING!r}])
adoption.kill_strays(())
print(_children().get(os.getpid(), []))
"""


def test_what_strays_start_while_they_are_killed_is_killed_too() -> None:
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", KILLING], capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout == "[]\n", done.stdout
