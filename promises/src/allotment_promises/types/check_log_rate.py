# SPDX-License-Identifier: Apache-2.0
"""Promise: a log gets so many lines a minute, neither fewer nor more."""

import time
from dataclasses import dataclass
from pathlib import Path

from allotment_promises.generic import GenericPromise
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.amounts import show_seconds
from allotment_promises.sensing.limits import check_above_zero, check_limits, outside
from allotment_promises.sensing.logs import LogLines, LogProblem, compile_pattern


@dataclass(frozen=True)
class Options:
    log_file: Path  # relative to the partition; what was rotated away is read too (.gz, .xz, .bz2 or plain)
    pattern: str = ""  # regular expression of Python; only lines in which it is found count
    period: float = 300.0  # seconds back over which the lines are counted
    minimum: float | None = None  # lines a minute
    maximum: float | None = None  # lines a minute

    def __post_init__(self) -> None:
        compile_pattern("pattern", self.pattern)
        check_above_zero(period=self.period)
        check_limits(self.minimum, self.maximum, required=True)


class CheckLogRate(GenericPromise[Options]):
    """Passes while the log gets from ``minimum`` to ``maximum`` lines a minute that match ``pattern``.

    Too few tell that nothing is asked of a service any more, too many that it complains all the time. The forms of
    times that are known are those of ``check_log_pattern``.

    Metrics: ``rate``, lines a second, and ``lines``, those of the whole period.
    """

    only = "anomaly"

    def target(self) -> str:
        return str(self.partition / self.options.log_file)

    def sense(self) -> Measurement:
        options = self.options
        pattern = compile_pattern("pattern", options.pattern)
        lines = LogLines(self.partition / options.log_file, time.time() - options.period)
        try:
            count = sum(pattern.search(line) is not None for line in lines)
        except OSError as error:
            return Measurement.failed(f"{options.log_file} can't be read: {error.strerror}")
        except LogProblem as error:
            return Measurement.failed(str(error))
        rate = count * 60 / options.period
        what = f" that match {options.pattern!r}" if options.pattern else ""
        text = f"{rate:.4g} lines a minute{what} in {options.log_file} over the last {show_seconds(options.period)}"
        if lines.is_cut:
            text += " or more: there are too many to read"
        problem = outside(rate, options.minimum, options.maximum)
        return Measurement(not problem, f"{text}{problem}", {"rate": Metric(rate / 60, "1/s"), "lines": Metric(count)})
