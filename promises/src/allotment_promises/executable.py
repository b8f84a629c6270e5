# SPDX-License-Identifier: Apache-2.0
"""Any executable in ``etc/promise`` is a promise; plugins of Nagios and Icinga are understood."""

from dataclasses import dataclass
from pathlib import Path

from allotment.errors import AllotmentError
from allotment_promises import nagios
from allotment_promises.catalogue import FOLDER
from allotment_promises.command import CommandOutcome, run_command
from allotment_promises.generic import GenericPromise
from allotment_promises.measurement import Measurement

_NO_VERDICT = {  # exit codes that say that it could not look, with the fix
    3: "It is UNKNOWN to the plugin: look at its arguments and at what it needs",
    126: "Something that it starts may not be executed: make it executable",
    127: "Something that it starts is not there: install it, or write its whole path",
}


@dataclass(frozen=True)
class Options:
    path: Path
    timeout: float  # seconds


class Executable(GenericPromise[Options]):
    """Passes with exit code 0, is an error with 3 (UNKNOWN), 126 and 127 (a shell can't start what it names).

    What it prints is the message; performance data of monitoring plugins become metrics.
    """

    def sense(self) -> Measurement:
        outcome = self._run()
        printed = nagios.parse(outcome.output)
        if outcome.code == 0:
            return Measurement(True, printed.text or "ended with exit code 0", printed.metrics)
        if outcome.code in _NO_VERDICT:
            raise AllotmentError(outcome.describe(self.options.timeout).rstrip("."), _NO_VERDICT[outcome.code])
        if outcome.code in (1, 2) and printed.is_nagios and printed.text:
            return Measurement(False, printed.text, printed.metrics)
        how = CommandOutcome(outcome.code, printed.text).describe(self.options.timeout)
        return Measurement(False, how, printed.metrics)

    def _run(self) -> CommandOutcome:
        try:
            return run_command([str(self.options.path)], self.partition, self.options.timeout)
        except OSError as error:
            place = FOLDER / self.options.path.name
            fix = "Begin it with a line such as #!/bin/sh that names a program of this machine"
            raise AllotmentError(f"{place} can't be started: {error.strerror}", fix) from error
