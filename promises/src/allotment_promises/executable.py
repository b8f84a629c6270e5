# SPDX-License-Identifier: Apache-2.0
"""Any executable in ``etc/promise`` is a promise: exit code 0 passes."""

from dataclasses import dataclass
from pathlib import Path

from allotment.errors import AllotmentError
from allotment_promises.catalogue import FOLDER
from allotment_promises.command import run_command
from allotment_promises.generic import GenericPromise
from allotment_promises.measurement import Measurement


@dataclass(frozen=True)
class Options:
    path: Path
    timeout: float  # seconds


class Executable(GenericPromise[Options]):
    """Passes when the executable ends with exit code 0; what it prints is the message."""

    def sense(self) -> Measurement:
        try:
            outcome = run_command([str(self.options.path)], self.partition, self.options.timeout)
        except OSError as error:
            place = FOLDER / self.options.path.name
            fix = "Begin it with a line such as #!/bin/sh that names a program of this machine"
            raise AllotmentError(f"{place} can't be started: {error.strerror}", fix) from error
        if outcome.code == 0:
            return Measurement.passed(outcome.output.strip() or "ended with exit code 0")
        return Measurement.failed(outcome.describe(self.options.timeout))
