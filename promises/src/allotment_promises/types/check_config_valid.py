# SPDX-License-Identifier: Apache-2.0
"""Promise: a program accepts its configuration."""

import glob
import hashlib
import os
from dataclasses import dataclass

from allotment.options import Arguments, OptionProblem, Words
from allotment_promises.command import run_command
from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement
from allotment_promises.sensing.amounts import show_count
from allotment_promises.sensing.limits import check_above_zero

_FINGERPRINT = 6  # bytes: as many as a number of the history holds exactly


@dataclass(frozen=True)
class Options:
    command: Arguments  # checks the configuration, such as nginx -t -c FILE: exit code 0 accepts it; no shell
    files: Words  # configuration files, relative to the partition; * ? [ ] stand for characters, ** for folders
    again_after: float = 86400.0  # seconds after which it is checked again although no file has changed
    timeout: float = 10.0  # seconds for the command

    def __post_init__(self) -> None:
        if not self.files:
            raise OptionProblem("files", "names none", "Write a path, such as etc/nginx.conf")
        check_above_zero(again_after=self.again_after, timeout=self.timeout)


class CheckConfigValid(GenericPromise[Options]):
    """Passes when ``command`` accepts the configuration in ``files``.

    The command is run when a file has changed since the last run of this promise, appeared or went, when it failed the
    last time, and once each ``again-after``; in between the promise costs a look at the files.

    Metrics: ``valid``, 1 or 0; ``checked``, 1 when the command was run; ``fingerprint`` of the files.
    """

    layer = Layer.PROCESS
    failures = 1
    window = 1

    def target(self) -> str:
        return str(self.partition / self.options.files[0])

    def sense(self) -> Measurement:
        try:
            files, fingerprint = self._look()
        except OSError as error:
            return Measurement.failed(f"{error.filename} can't be examined: {error.strerror}")
        if not files:
            return Measurement.failed(f"no file is {' '.join(self.options.files)}, expected at least one")
        if self._is_known(fingerprint):
            text = f"{self.options.command[0]} has accepted {show_count(files, 'file')}, unchanged since"
            return Measurement.passed(text, fingerprint=fingerprint, valid=1, checked=0)
        return self._check(files, fingerprint)

    def _check(self, files: int, fingerprint: int) -> Measurement:
        program, limit = self.options.command[0], self.options.timeout
        try:
            outcome = run_command(self.options.command, self.partition, limit)
        except OSError as error:
            return Measurement.failed(f"{program} can't be started: {error.strerror}")
        if outcome.code == 0:
            text = f"{program} accepts {show_count(files, 'file')}"
            return Measurement.passed(text, fingerprint=fingerprint, valid=1, checked=1)
        text = f"{program} refuses the configuration: it {outcome.describe(limit)}"
        return Measurement.failed(text, fingerprint=fingerprint, valid=0, checked=1)

    def _is_known(self, fingerprint: int) -> bool:
        """Return whether the last run found the same files valid, and they were checked lately."""
        found = {name: self.series(name, self.options.again_after) for name in ("fingerprint", "valid", "checked")}
        if not all(found.values()):
            return False
        is_same = found["fingerprint"][-1][1] == fingerprint and found["valid"][-1][1] == 1
        return is_same and any(value > 0 for _, value in found["checked"])

    def _look(self) -> tuple[int, int]:
        """Return how many files there are, and a number that changes with them, and with the command."""
        digest = hashlib.sha256(repr(self.options.command).encode())
        paths = {
            self.partition / name
            for pattern in self.options.files
            for name in glob.iglob(pattern, root_dir=self.partition, recursive=True)  # noqa: PTH207 (absolute ones too)
        }
        for path in sorted(paths):
            status = os.stat(path)  # noqa: PTH116 (the error is to name the path)
            seen = (str(path), status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_mode)
            digest.update(repr(seen).encode("utf-8", "surrogateescape"))
        return len(paths), int.from_bytes(digest.digest()[:_FINGERPRINT], "big")
