# SPDX-License-Identifier: Apache-2.0
"""Promise: a backup can be restored, and holds what it should."""

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from allotment.errors import AllotmentError
from allotment.options import Arguments, OptionProblem
from allotment_promises.command import run_command
from allotment_promises.generic import GenericPromise
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.amounts import show_bytes, show_count
from allotment_promises.sensing.checksums import compare
from allotment_promises.sensing.limits import check_above_zero


@dataclass(frozen=True)
class Options:
    command: Arguments  # restores the backup into its current folder, which is empty; run without a shell
    checksums: Path | None = None  # list of sha256sum that the files must be as, relative to the partition
    verify: Arguments = Arguments(())  # run in the restored folder; exit code 0 tells that all is well
    folder: Path = Path("tmp")  # where the temporary folder is made, relative to the partition; needs the room
    timeout: float = 240.0  # seconds for all; the promise itself has a timeout that is longer

    def __post_init__(self) -> None:
        if self.checksums is None and not self.verify:
            raise OptionProblem("checksums, verify", "none of them is given", "Give one of them, or both")
        check_above_zero(timeout=self.timeout)


class CheckBackupRestorable(GenericPromise[Options]):
    """Passes when ``command`` restores the backup and what comes out is as ``checksums`` or ``verify`` say.

    It restores into a temporary folder that is removed afterwards.

    Metrics: ``restore_seconds``; ``files`` and ``size``, bytes, that were compared with ``checksums``.
    """

    only = "anomaly"
    period = 86400.0
    timeout = 300.0
    failures = 1
    window = 1

    def target(self) -> str:
        return str(self.partition / self.options.checksums) if self.options.checksums is not None else ""

    def sense(self) -> Measurement:
        started = time.monotonic()
        try:
            with self._scratch() as folder:
                return self._restore(folder, started)
        except OSError as error:
            return Measurement.failed(f"{error.filename or 'restoring'}: {error.strerror}")
        except AllotmentError as error:
            return Measurement.failed(str(error))

    def _restore(self, folder: Path, started: float) -> Measurement:
        options = self.options
        deadline = started + options.timeout
        problem = _run("restoring", options.command, folder, options.timeout)
        if problem:
            return Measurement.failed(problem)
        metrics = {"restore_seconds": Metric(time.monotonic() - started, "s")}
        text = "restored"
        if options.checksums is not None:
            compared = compare(self.partition / options.checksums, folder, deadline)
            metrics |= {"files": Metric(compared.files), "size": Metric(compared.bytes, "B")}
            if compared.problem or not compared.files:
                reason = compared.problem or f"{options.checksums} names no file"
                return Measurement.failed(f"restored, but {reason}", **metrics)
            size = show_bytes(compared.bytes)
            text = f"restored {show_count(compared.files, 'file')} of {size} with the right checksums"
        if options.verify:
            problem = _run("verifying", options.verify, folder, deadline - time.monotonic())
            if problem:
                return Measurement.failed(f"{text}, but {problem}", **metrics)
            text = f"{text} and verified"
        return Measurement.passed(text, **metrics)

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[Path]:
        """Make an empty folder for one run; what a killed run has left is removed first."""
        parent = self.partition / self.options.folder
        parent.mkdir(parents=True, exist_ok=True)
        prefix = f".restored-{self.name}-"
        for entry in list(parent.iterdir()):
            if entry.name.startswith(prefix):
                _remove(entry)
        made = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        try:
            yield made
        finally:
            _remove(made)


def _run(what: str, command: Arguments, folder: Path, timeout: float) -> str:
    """Run a program in the folder; return how it failed, empty when it did not."""
    if timeout <= 0:
        return f"{what} had no time left"
    try:
        outcome = run_command(command, folder, timeout)
    except OSError as error:
        return f"{command[0]} can't be started: {error.strerror}"
    return "" if outcome.code == 0 else f"{what} failed: {command[0]} {outcome.describe(timeout)}"


def _remove(folder: Path) -> None:
    """Remove a folder, also one whose folders were restored without permission to write."""
    for place, names, _ in os.walk(folder):
        for path in (Path(place, name) for name in names):
            if not path.is_symlink():
                path.chmod(stat.S_IRWXU)  # before it is looked into
    shutil.rmtree(folder)
