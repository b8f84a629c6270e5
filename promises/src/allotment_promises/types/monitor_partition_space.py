# SPDX-License-Identifier: Apache-2.0
"""Promise: a partition does not grow in an unusual way."""

import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from allotment_promises import detectors
from allotment_promises.generic import GenericPromise
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.amounts import show_bytes, show_seconds
from allotment_promises.sensing.limits import check_above_zero

_PAST = 30 * 86400.0  # seconds of the past that show what is usual
_UNUSUAL = 3.5  # robust standard deviations


@dataclass(frozen=True)
class Options:
    path: Path = Path()  # folder whose size is watched, relative to the partition
    threshold_ratio: float = 0.08  # growth between two runs, as a share of the size, that is always fine
    timeout: float = 15.0  # seconds to look at all files

    def __post_init__(self) -> None:
        check_above_zero(threshold_ratio=self.threshold_ratio, timeout=self.timeout)


class MonitorPartitionSpace(GenericPromise[Options]):
    """Passes while the folder grows no faster than it used to.

    It is broken when the growth since the last run is more than ``threshold-ratio`` of the size, and unusual for what
    the last 30 days have shown. The space that files take is counted, each once; other disks that are mounted inside
    are not. Each run looks at every file.

    Metrics: ``size`` in bytes.
    """

    only = "anomaly"
    period = 3600.0
    failures = 1
    window = 1

    def target(self) -> str:
        return str(self.partition / self.options.path)

    def sense(self) -> Measurement:
        path = self.partition / self.options.path
        deadline = time.monotonic() + self.options.timeout
        seen: set[int] = set()
        size = 0
        try:
            for found in _files(path):
                if time.monotonic() > deadline:
                    limit = show_seconds(self.options.timeout)
                    return Measurement.failed(f"{path} has more files than can be looked at within {limit}")
                if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
                    if found.st_ino in seen:
                        continue
                    seen.add(found.st_ino)
                size += found.st_blocks * 512
        except OSError as error:
            return Measurement.failed(f"{error.filename} can't be examined: {error.strerror}")
        return Measurement.passed(f"{path} takes {show_bytes(size)}", size=Metric(size, "B"))

    def anomaly(self, history: Sequence[Measurement]) -> Measurement:
        newest = history[-1]
        if not newest.is_passed:
            return newest
        past = self.series("size", _PAST)
        if not past:
            return newest
        size, before = newest.metrics["size"].value, past[-1][1]
        growths = [(at, after - earlier) for (_, earlier), (at, after) in pairwise(past)]
        growth = size - before
        if growth <= self.options.threshold_ratio * before or detectors.outlier(growths, growth) <= _UNUSUAL:
            return newest
        ago = show_seconds(newest.time - past[-1][0])
        expected = f"expected at most {self.options.threshold_ratio * 100:g} % or what is usual"
        message = f"grew by {show_bytes(growth)} ({growth / max(before, 1) * 100:.0f} %) in {ago}, {expected}"
        return replace(newest, is_passed=False, message=f"{newest.message}: {message}")


def _files(top: Path) -> Iterator[os.stat_result]:
    """Yield what is known of a folder and all below it on its disk; files that vanish meanwhile are passed over."""
    first = os.stat(top)  # noqa: PTH116 (the error is to name the path)
    yield first
    folders = [str(top)]
    while folders:
        folder = folders.pop()
        try:
            entries = os.scandir(folder)
        except FileNotFoundError:
            continue
        with entries:
            for entry in entries:
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if found.st_dev == first.st_dev:
                    yield found
                    if stat.S_ISDIR(found.st_mode):
                        folders.append(entry.path)
