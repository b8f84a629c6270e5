# SPDX-License-Identifier: Apache-2.0
"""What is installed around a test node, measured again when it has changed."""

import json
import os
import subprocess
import sys

from allotment.codec import decode
from allotment.errors import AllotmentError
from allotment_testfarm.testnode.environment import Watched

_MEASURE_SECONDS = 120.0


class Surroundings:
    """The environment of this test node's jobs, and the kinds of jobs that they can be."""

    def __init__(self) -> None:
        self.environment: dict[str, str] = {}
        self.kinds: tuple[str, ...] = ()
        self._watched = Watched((), (), ())
        self._look = ""

    def have_changed(self) -> bool:
        """Tell, within milliseconds, whether files are not what they were when measured; True before the first time."""
        return self._watched.look() != self._look

    def measure(self) -> None:
        """Measure by a process that imports what a job would import now, and nothing that is only in our variables."""
        variables = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        command = [sys.executable, "-P", "-m", "allotment_testfarm.testnode.environment"]
        try:
            done = subprocess.run(
                command, env=variables, capture_output=True, text=True, check=True, timeout=_MEASURE_SECONDS
            )
            found = json.loads(done.stdout)
        except (subprocess.SubprocessError, OSError, ValueError) as error:  # as while it is being installed
            said = (getattr(error, "stderr", "") or "").strip().rpartition("\n")[2]
            raise AllotmentError(f"what is installed here can't be told: {said or error}", "Install it anew") from error
        self.environment, self.kinds = found["environment"], tuple(found["kinds"])
        self._watched, self._look = decode(Watched, found["watched"]), found["look"]
