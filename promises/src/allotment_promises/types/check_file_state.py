# SPDX-License-Identifier: Apache-2.0
"""Promise: a file is there, is not there, is empty or is not."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement, Metric


@dataclass(frozen=True)
class Options:
    filename: Path  # file or folder, relative to the partition
    state: Literal["present", "absent", "empty", "not-empty"] = "present"  # what it should be
    url: str = ""  # where people can read the file; told when the promise fails


class CheckFileState(GenericPromise[Options]):
    """Passes when ``filename`` is in the ``state`` that is expected of it.

    Metrics: ``bytes`` of a file.
    """

    layer = Layer.PROCESS

    def target(self) -> str:
        return str(self.partition / self.options.filename)

    def sense(self) -> Measurement:
        expected = self.options.state
        try:
            found, metrics = self._look(self.partition / self.options.filename)
        except OSError as error:
            return Measurement.failed(f"{self.options.filename} can't be examined: {error.strerror}")
        if expected == found or (expected == "present" and found != "absent"):
            return Measurement.passed(f"{self.options.filename} is {found}", **metrics)
        where = f"; see {self.options.url}" if self.options.url else ""
        return Measurement.failed(f"{self.options.filename} is {found}, expected {expected}{where}", **metrics)

    @staticmethod
    def _look(path: Path) -> tuple[str, dict[str, Metric]]:
        """Return the state of a path, and how large a file is; a link that leads nowhere is absent."""
        try:
            if path.is_dir():
                return ("not-empty" if any(path.iterdir()) else "empty"), {}
            size = path.stat().st_size
            return ("not-empty" if size else "empty"), {"bytes": Metric(size, "B")}
        except (FileNotFoundError, NotADirectoryError):
            return "absent", {}
