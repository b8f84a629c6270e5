# SPDX-License-Identifier: Apache-2.0
"""Promise: the newest or the oldest of some files is not too old."""

import glob
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from allotment.options import OptionProblem, Words
from allotment_promises.generic import GenericPromise
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.amounts import show_seconds
from allotment_promises.sensing.limits import check_above_zero

_AHEAD = 60.0  # seconds by which a file may seem newer than now: other machines write to some disks


@dataclass(frozen=True)
class Options:
    files: Words  # files, relative to the partition; * ? [ ] stand for characters, ** for folders at any depth
    which: Literal["newest", "oldest"] = "newest"  # whose age counts; none at all is fine for the oldest only
    maximum_age: float = 86400.0  # seconds since its last change

    def __post_init__(self) -> None:
        if not self.files:
            raise OptionProblem("files", "names none", "Write a path, such as srv/backup/*.gz")
        check_above_zero(maximum_age=self.maximum_age)


class CheckFileAge(GenericPromise[Options]):
    """Passes while the newest, or the oldest, of ``files`` was changed within ``maximum-age``.

    The newest tells that something still writes, such as a dump each night; the oldest that something still takes
    away, such as the messages of a queue. Folders do not count, hidden files only where the pattern says so.

    Metrics: ``age`` in seconds, ``files``, how many there are.
    """

    def target(self) -> str:
        return str(self.partition / self.options.files[0])

    def sense(self) -> Measurement:
        options = self.options
        try:
            ages = self._ages()
        except OSError as error:
            return Measurement.failed(f"{error.filename} can't be examined: {error.strerror}")
        shown = " ".join(options.files)
        if not ages:
            if options.which == "oldest":
                return Measurement.passed(f"no file is {shown}", files=0)
            return Measurement.failed(f"no file is {shown}, expected at least one", files=0)
        age, path = min(ages) if options.which == "newest" else max(ages)
        metrics = {"age": Metric(age, "s"), "files": Metric(len(ages))}
        if age < -_AHEAD:
            return Measurement.failed(
                f"{path} comes from the future, by {show_seconds(-age)}: look at the clocks", **metrics
            )
        text = f"{path}, the {options.which} of {len(ages)} {shown}, was changed {show_seconds(max(age, 0.0))} ago"
        if age > options.maximum_age:
            return Measurement.failed(f"{text}, expected at most {show_seconds(options.maximum_age)}", **metrics)
        return Measurement.passed(text, **metrics)

    def _ages(self) -> list[tuple[float, str]]:
        """Return the age of each file in seconds, and its path, from the partition on if it is inside."""
        now = time.time()
        found: dict[Path, float] = {}
        for pattern in self.options.files:
            for name in glob.iglob(pattern, root_dir=self.partition, recursive=True):  # noqa: PTH207 (absolute ones too)
                path = self.partition / name
                try:
                    status = path.stat()
                except FileNotFoundError:
                    continue  # it was removed meanwhile, or is a link that leads nowhere
                if not stat.S_ISDIR(status.st_mode):
                    found[path] = now - status.st_mtime
        return [(age, self._shown(path)) for path, age in found.items()]

    def _shown(self, path: Path) -> str:
        return str(path.relative_to(self.partition) if path.is_relative_to(self.partition) else path)
