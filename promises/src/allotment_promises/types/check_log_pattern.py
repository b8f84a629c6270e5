# SPDX-License-Identifier: Apache-2.0
"""Promise: what must not happen does not show in a log."""

import time
from dataclasses import dataclass
from pathlib import Path

from allotment.options import OptionProblem
from allotment_promises.generic import GenericPromise
from allotment_promises.measurement import Measurement
from allotment_promises.sensing.amounts import show_count, show_seconds
from allotment_promises.sensing.limits import check_not_below_zero
from allotment_promises.sensing.logs import LogLines, LogProblem, compile_pattern

_SHOWN = 200  # characters of the newest line


@dataclass(frozen=True)
class Options:
    log_file: Path  # relative to the partition; what was rotated away is read too (.gz, .xz, .bz2 or plain)
    pattern: str  # regular expression of Python, searched in each line
    ignore: str = ""  # regular expression of lines that do not count
    maximum_delay: float = 3600.0  # seconds back that count; 0: all that the file itself holds, whatever its times
    error_threshold: int = 0  # lines that may match

    def __post_init__(self) -> None:
        if not self.pattern:
            raise OptionProblem("pattern", "is empty", "Write a regular expression, such as ERROR|CRITICAL")
        compile_pattern("pattern", self.pattern)
        compile_pattern("ignore", self.ignore)
        check_not_below_zero(maximum_delay=self.maximum_delay, error_threshold=self.error_threshold)


class CheckLogPattern(GenericPromise[Options]):
    """Passes while at most ``error-threshold`` lines of the last ``maximum-delay`` seconds match ``pattern``.

    Only the end of the log that is new enough is read, at most 32 MiB. Lines tell their time as in ISO 8601, in syslog,
    or in the logs of Apache and nginx; a line without a time, as of a traceback, has that of the line before it.

    Metrics: ``matches``, lines.
    """

    only = "anomaly"
    failures = 1
    window = 1

    def target(self) -> str:
        return str(self.partition / self.options.log_file)

    def sense(self) -> Measurement:
        options = self.options
        pattern = compile_pattern("pattern", options.pattern)
        ignore = compile_pattern("ignore", options.ignore) if options.ignore else None
        since = time.time() - options.maximum_delay if options.maximum_delay else 0.0
        lines = LogLines(self.partition / options.log_file, since)
        count, newest = 0, ""
        try:
            for line in lines:
                if pattern.search(line) and not (ignore and ignore.search(line)):
                    newest = newest or line
                    count += 1
        except OSError as error:
            return Measurement.failed(f"{options.log_file} can't be read: {error.strerror}")
        except LogProblem as error:
            return Measurement.failed(str(error))
        when = f" of the last {show_seconds(options.maximum_delay)}" if since else ""
        text = f"{show_count(count, 'line')}{when} in {options.log_file} with {options.pattern!r}"
        if lines.is_cut:
            text += " (only the newest were read: there are too many)"
        if count > options.error_threshold:
            expected = f"expected at most {options.error_threshold}; the newest"
            return Measurement.failed(f"{text}, {expected}: {newest[:_SHOWN]}", matches=count)
        return Measurement.passed(text, matches=count)
