# SPDX-License-Identifier: Apache-2.0
"""Any executable in ``etc/promise`` is a promise: exit code 0 passes."""

from dataclasses import dataclass
from pathlib import Path

from allotment_promises.command import run_command
from allotment_promises.generic import GenericPromise, Measurement


@dataclass(frozen=True)
class Options:
    path: Path
    timeout: float  # seconds


class Executable(GenericPromise[Options]):
    """Passes when the executable ends with exit code 0; what it prints is the message."""

    def sense(self) -> Measurement:
        outcome = run_command([str(self.options.path)], self.partition, self.options.timeout)
        if outcome.code == 0:
            return Measurement.passed(outcome.output.strip() or "ended with exit code 0")
        return Measurement.failed(outcome.describe(self.options.timeout))
