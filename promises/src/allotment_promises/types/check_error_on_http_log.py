# SPDX-License-Identifier: Apache-2.0
"""Promise: a web server's logs tell of few errors."""

import re
import time
from dataclasses import dataclass
from pathlib import Path

from allotment.options import OptionProblem
from allotment_promises.generic import GenericPromise
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.amounts import show_count, show_seconds
from allotment_promises.sensing.limits import check_above_zero, check_not_below_zero
from allotment_promises.sensing.logs import LogLines, LogProblem, compile_pattern

_ANSWER = re.compile(r'" (?P<code>[1-5]\d\d) (?:\d+|-)(?: |$)')  # after the request: status code and size
_ERROR = re.compile(r"\[(?:[a-z0-9_]+:)?(?:error|crit|alert|emerg)\]")
_SHOWN = 200  # characters of the newest error


@dataclass(frozen=True)
class Options:
    log_file: Path | None = None  # error log of Apache or nginx, relative to the partition
    access_log: Path | None = None  # access log in the common or combined form, relative to the partition
    maximum_delay: float = 3600.0  # seconds back that count
    error_threshold: int = 0  # lines of level error or worse that log-file may have
    maximum_share: float = 0.05  # share of the answers in access-log that may have a code of 500 or more
    minimum_requests: int = 20  # fewer answers than that are not judged by their share
    ignore: str = ""  # regular expression of lines that do not count

    def __post_init__(self) -> None:
        if self.log_file is None and self.access_log is None:
            raise OptionProblem("log-file, access-log", "none of them is given", "Give one of them, or both")
        check_above_zero(maximum_delay=self.maximum_delay)
        check_not_below_zero(error_threshold=self.error_threshold, minimum_requests=self.minimum_requests)
        if not 0 <= self.maximum_share <= 1:
            raise OptionProblem("maximum-share", f"{self.maximum_share:g} is no share", "Write it like 0.05")
        compile_pattern("ignore", self.ignore)


class CheckErrorOnHttpLog(GenericPromise[Options]):
    """Passes while the web server wrote few errors, and few of its answers were its own failure.

    Of ``log-file``, lines of the levels error, crit, alert and emerg count; of ``access-log``, answers with a status
    code of 500 or more. Rotated files are read too, packed or not.

    Metrics: ``errors`` in ``log-file``; ``requests``, ``failures`` and ``failure_share`` of ``access-log``.
    """

    only = "anomaly"
    failures = 1
    window = 1

    def target(self) -> str:
        return str(self.partition / (self.options.access_log or self.options.log_file or ""))

    def sense(self) -> Measurement:
        parts: list[Measurement] = []
        try:
            if self.options.log_file is not None:
                parts.append(self._errors(self.options.log_file))
            if self.options.access_log is not None:
                parts.append(self._answers(self.options.access_log))
        except OSError as error:
            return Measurement.failed(f"{error.filename} can't be read: {error.strerror}")
        except LogProblem as error:
            return Measurement.failed(str(error))
        metrics = {name: metric for part in parts for name, metric in part.metrics.items()}
        failed = [part for part in parts if not part.is_passed]
        return Measurement(not failed, "; ".join(part.message for part in failed or parts), metrics)

    def _errors(self, path: Path) -> Measurement:
        count, newest = 0, ""
        for line in self._lines(path):
            if _ERROR.search(line):
                newest = newest or line
                count += 1
        text = f"{show_count(count, 'error')} in {path} {self._when()}"
        if count <= self.options.error_threshold:
            return Measurement.passed(text, errors=count)
        expected = f"expected at most {self.options.error_threshold}; the newest: {newest[:_SHOWN]}"
        return Measurement.failed(f"{text}, {expected}", errors=count)

    def _answers(self, path: Path) -> Measurement:
        count = failures = 0
        for line in self._lines(path):
            found = _ANSWER.search(line)
            if found is None:
                continue
            count += 1
            failures += found["code"] >= "500"
        share = failures / count if count else 0.0
        metrics = {"requests": Metric(count), "failures": Metric(failures), "failure_share": Metric(share, "1")}
        text = f"{failures} of {count} answers ({share * 100:.1f} %) in {path} {self._when()} are 500 or more"
        if share <= self.options.maximum_share or count < self.options.minimum_requests:
            return Measurement.passed(text, **metrics)
        return Measurement.failed(f"{text}, expected at most {self.options.maximum_share * 100:g} %", **metrics)

    def _when(self) -> str:
        return f"of the last {show_seconds(self.options.maximum_delay)}"

    def _lines(self, path: Path) -> "filter[str]":
        ignore = compile_pattern("ignore", self.options.ignore) if self.options.ignore else None
        lines = LogLines(self.partition / path, time.time() - self.options.maximum_delay)
        return filter(lambda line: ignore is None or not ignore.search(line), lines)
