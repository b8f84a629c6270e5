# SPDX-License-Identifier: Apache-2.0
"""Promise: a program that runs once, to set something up, has done so."""

from dataclasses import dataclass
from pathlib import Path

import psutil

from allotment.atomic import read_limited
from allotment.errors import AllotmentError
from allotment.options import OptionProblem
from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement

_PID_LIMIT = 32  # bytes
_STATUS_LIMIT = 1 << 16  # bytes
_SHOWN = 200  # characters of a status


@dataclass(frozen=True)
class Options:
    process_pid_file: Path  # holds the pid of the program while it runs, relative to the partition
    status_file: Path  # the program's exit code or a word, written when it ended; relative to the partition
    process_name: str = "bootstrap"  # what it is called in messages
    expect: str = "0"  # what status-file begins with after success

    def __post_init__(self) -> None:
        if not self.expect.strip():
            raise OptionProblem("expect", "is empty", "Write what the file begins with, such as 0")


class MonitorBootstrapStatus(GenericPromise[Options]):
    """Passes when the program has written ``expect`` to ``status-file``, or still runs.

    A program that ended without a status, or with another one, failed.
    """

    layer = Layer.PROCESS

    def target(self) -> str:
        return str(self.partition / self.options.status_file)

    def sense(self) -> Measurement:
        name = self.options.process_name
        try:
            pid = self._running()
            status = read_limited(self.partition / self.options.status_file, _STATUS_LIMIT)
        except (OSError, AllotmentError) as error:
            return Measurement.failed(f"the state of {name} can't be read: {error}")
        if pid:
            return Measurement.passed(f"{name} is at work, with pid {pid}")
        if status is None:
            return Measurement.failed(f"{name} does not run and has left no {self.options.status_file}")
        text = status.decode("utf-8", "replace").strip()
        if text.split()[: len(self.options.expect.split())] == self.options.expect.split():
            return Measurement.passed(f"{name} has ended well")
        return Measurement.failed(f"{name} has ended with {text[:_SHOWN]!r}, expected {self.options.expect!r}")

    def _running(self) -> int:
        """Return the pid of the program, 0 when it does not run."""
        path = self.partition / self.options.process_pid_file
        data = (read_limited(path, _PID_LIMIT) or b"").strip()
        if not data.isdigit():
            return 0
        try:
            process = psutil.Process(int(data))
            # a pid that another process has got since says nothing
            is_it = process.create_time() <= path.stat().st_mtime + 1.0
            return process.pid if is_it and process.status() != psutil.STATUS_ZOMBIE else 0
        except (psutil.Error, OverflowError, ValueError, FileNotFoundError):
            return 0
