# SPDX-License-Identifier: Apache-2.0
"""Promise: a program ends with exit code 0."""

import time
from dataclasses import dataclass

from allotment.options import Arguments
from allotment_promises import nagios
from allotment_promises.command import CommandOutcome, run_command
from allotment_promises.generic import GenericPromise
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.limits import check_above_zero


@dataclass(frozen=True)
class Options:
    command: Arguments  # program and arguments, run in the partition without a shell
    timeout: float = 10.0  # seconds after which it is killed

    def __post_init__(self) -> None:
        check_above_zero(timeout=self.timeout)


class CheckCommandExecute(GenericPromise[Options]):
    """Passes when ``command`` ends with exit code 0 within ``timeout``.

    Metrics: ``seconds`` that it ran, and performance data that it prints as plugins of Nagios and Icinga do.
    """

    def sense(self) -> Measurement:
        program = self.options.command[0]
        started = time.monotonic()
        try:
            outcome = run_command(self.options.command, self.partition, self.options.timeout)
        except OSError as error:
            return Measurement.failed(f"{program} can't be started: {error.strerror}")
        seconds = Metric(time.monotonic() - started, "s")
        printed = nagios.parse(outcome.output)
        text = f"{program} {CommandOutcome(outcome.code, printed.text).describe(self.options.timeout)}"
        return Measurement(outcome.code == 0, text, {"seconds": seconds, **printed.metrics})
