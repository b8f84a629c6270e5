# SPDX-License-Identifier: Apache-2.0
"""Promise: a disk has space and inodes left, and will have."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from allotment_promises import detectors
from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.amounts import parse_amount, show_amount, show_bytes
from allotment_promises.sensing.limits import check_not_below_zero

_DAY = 86400.0  # seconds


@dataclass(frozen=True)
class Options:
    path: Path = Path()  # any file or folder of the disk, relative to the partition
    threshold: str = "5 %"  # space that must be free for ordinary users: like 2G, or a share of the disk
    inode_threshold: str = "5 %"  # inodes that must be free: a number or a share; 0 where they do not matter
    nb_days_predicted: float = (
        10.0  # in operation it is broken when the trend fills the disk within so many days; 0: never
    )
    mounted: bool = False  # path must be a mount point that can be written to

    def __post_init__(self) -> None:
        parse_amount("threshold", self.threshold)
        parse_amount("inode-threshold", self.inode_threshold, is_count=True)
        check_not_below_zero(nb_days_predicted=self.nb_days_predicted)


class CheckFreeDiskSpace(GenericPromise[Options]):
    """Passes while the disk, or other mount, that holds ``path`` has ``threshold`` and ``inode-threshold`` free.

    What is counted is what ordinary users can have, as ``df`` does. In operation it also looks at the trend of the
    past days. With ``mounted`` it notices a disk that is not mounted, in whose place the one beneath would be measured.

    Metrics: ``free`` in bytes, ``free_ratio``, ``free_inodes``.
    """

    layer = Layer.HOST

    def target(self) -> str:
        return str(self.partition / self.options.path)

    def sense(self) -> Measurement:
        path = self.partition / self.options.path
        try:
            found = os.statvfs(path)
            is_mount = os.path.ismount(path)
        except OSError as error:
            return Measurement.failed(f"{path} can't be examined: {error.strerror}")
        if self.options.mounted and not is_mount:
            return Measurement.failed(f"{path} is no mount point, expected a disk to be mounted there")
        if self.options.mounted and found.f_flag & os.ST_RDONLY:
            return Measurement.failed(f"{path} is mounted read-only, expected to be able to write to it")
        return self._judge(path, found)

    def anomaly(self, history: Sequence[Measurement]) -> Measurement:
        judged = super().anomaly(history)
        return self._foresee(judged) if judged.is_passed else judged

    def _judge(self, path: Path, found: os.statvfs_result) -> Measurement:
        free = found.f_bavail * found.f_frsize
        total = (found.f_blocks - found.f_bfree + found.f_bavail) * found.f_frsize
        metrics = {"free": Metric(free, "B"), "free_ratio": Metric(free / total if total else 0.0, "1")}
        wanted = parse_amount("threshold", self.options.threshold)
        text = f"{show_bytes(free)} of {show_bytes(total)} free at {path}"
        if free < wanted.of(total):
            return Measurement.failed(f"{text}, expected at least {show_amount(wanted)}", **metrics)
        if not found.f_files:  # of a file system that makes inodes as they are needed
            return Measurement.passed(text, **metrics)
        # of the inodes too some may be kept for root
        total = found.f_files - found.f_ffree + found.f_favail
        metrics["free_inodes"] = Metric(found.f_favail)
        wanted = parse_amount("inode-threshold", self.options.inode_threshold, is_count=True)
        inodes = f"{found.f_favail:,} of {total:,} inodes"
        if found.f_favail < wanted.of(total):
            expected = f"expected at least {show_amount(wanted, is_count=True)}"
            return Measurement.failed(f"{inodes} free at {path}, {expected}", **metrics)
        return Measurement.passed(f"{text}, {inodes}", **metrics)

    def _foresee(self, newest: Measurement) -> Measurement:
        """Return ``newest`` as failed when the trend leaves nothing within the days that are predicted."""
        seconds = self.options.nb_days_predicted * _DAY
        for name, what in (("free", "space"), ("free_inodes", "inodes")):
            if not seconds or name not in newest.metrics:
                continue
            series = [*self.series(name, seconds), (newest.time, newest.metrics[name].value)]
            left = detectors.forecast(series, 0.0, seconds)
            if left is not None:
                trend = f"the trend leaves no {what} in {left / _DAY:.1f} days"
                expected = f"expected not within {self.options.nb_days_predicted:g}"
                return replace(newest, is_passed=False, message=f"{trend}, {expected}: {newest.message}")
        return newest
