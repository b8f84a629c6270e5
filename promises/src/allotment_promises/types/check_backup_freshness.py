# SPDX-License-Identifier: Apache-2.0
"""Promise: there is a recent backup, and the last attempt to make one went well."""

import glob
import json
import os
import stat
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from allotment.atomic import read_limited
from allotment.errors import AllotmentError
from allotment.options import OptionProblem, Words, check_one_given
from allotment_promises.generic import GenericPromise
from allotment_promises.measurement import Measurement, Metric
from allotment_promises.sensing.amounts import parse_amount, show_amount, show_bytes, show_seconds
from allotment_promises.sensing.limits import check_above_zero

_STATUS_LIMIT = 1 << 16  # bytes
_FORMAT = 1  # of a status file
_NAME = "%Y%m%dT%H%M%S.%fZ"  # of a generation, by its time
_AHEAD = 3600.0  # seconds by which another machine's clock may be ahead
_SHOWN = 500  # characters of an error


@dataclass(frozen=True)
class Options:
    status_file: Path | None = None  # written by backup.export, backup.pull or their like, relative to the partition
    files: Words = Words(())  # other backups: files, relative to the partition; * ? [ ] stand for characters
    marker: Path | None = None  # with files: file that is changed after each success, relative to the partition
    maximum_age: float = 172800.0  # seconds since the last whole backup
    maximum_duration: float = 21600.0  # seconds that making one may take
    minimum_size: str = "1B"  # of the last whole backup
    since: Path | None = None  # while this file is newer than maximum-age, there need be no backup yet

    def __post_init__(self) -> None:
        check_one_given(status_file=self.status_file, files=self.files)
        if self.marker is not None and not self.files:
            raise OptionProblem("marker, files", "marker is of no use without files", "Say which files the backups are")
        check_above_zero(maximum_age=self.maximum_age, maximum_duration=self.maximum_duration)
        if parse_amount("minimum-size", self.minimum_size).is_share:
            raise OptionProblem("minimum-size", f"{self.minimum_size!r} is a share", "Write it like 100M")


@dataclass(frozen=True)
class _Backup:
    """The last whole backup, and what is wrong with the attempt after it."""

    made: float | None = None  # UTC epoch, seconds; None: there is none
    size: int = 0  # bytes
    name: str = ""
    problem: str = ""


class CheckBackupFreshness(GenericPromise[Options]):
    """Passes while the last whole backup is at most ``maximum-age`` old and no attempt after it has failed.

    With ``status-file`` it is judged by what the backup programs noted; with ``files`` by the newest of them, and by
    ``marker`` if there is one: a file that is newer than the marker belongs to a backup that is being made, or failed.

    Metrics: ``age`` in seconds and ``size`` in bytes, of the last whole backup.
    """

    failures = 1
    window = 1

    def target(self) -> str:
        return str(self.partition / (self.options.status_file or self.options.files[0]))

    def sense(self) -> Measurement:
        try:
            is_begun = self._is_begun()
            if self.options.status_file is not None:
                backup = self._noted(self.options.status_file)
            else:
                backup = self._newest()
        except OSError as error:
            return Measurement.failed(f"{error.filename} can't be examined: {error.strerror}")
        except AllotmentError as error:
            return Measurement.failed(str(error))
        return self._judge(backup, is_begun)

    def _judge(self, backup: _Backup, is_begun: bool) -> Measurement:
        options = self.options
        if backup.made is None:
            text = backup.problem or "there is no whole backup yet"
            return Measurement(is_begun and not backup.problem, text)
        age = time.time() - backup.made
        metrics = {"age": Metric(age, "s"), "size": Metric(backup.size, "B")}
        text = f"{backup.name}, the last whole backup, has {show_bytes(backup.size)} and is {show_seconds(age)} old"
        if backup.problem:
            return Measurement.failed(f"{backup.problem}; {text}", **metrics)
        if age < -_AHEAD:
            return Measurement.failed(f"{text}: it comes from the future, look at the clocks", **metrics)
        if age > options.maximum_age:
            return Measurement.failed(f"{text}, expected at most {show_seconds(options.maximum_age)}", **metrics)
        smallest = parse_amount("minimum-size", options.minimum_size)
        if backup.size < smallest.value:
            return Measurement.failed(f"{text}, expected at least {show_amount(smallest)}", **metrics)
        return Measurement.passed(text, **metrics)

    def _is_begun(self) -> bool:
        """Return whether backups were first asked for so lately that there need be none."""
        if self.options.since is None:
            return False
        asked = (self.partition / self.options.since).stat().st_mtime
        return time.time() - asked <= self.options.maximum_age

    def _noted(self, path: Path) -> _Backup:
        """Return what a status file says; before the first attempt there is none."""
        data = read_limited(self.partition / path, _STATUS_LIMIT)
        if data is None:
            return _Backup()
        fields = _parse(data, path)
        name, size, result = fields["generation"], fields["bytes"], fields["result"]
        made = datetime.strptime(name, _NAME).replace(tzinfo=UTC).timestamp() if name else None
        problem = ""
        if result == "failed":
            problem = f"the last attempt failed: {fields['error'][:_SHOWN]}"
        elif result == "working" and time.time() - fields["began"] > self.options.maximum_duration:
            problem = f"the last attempt was begun {show_seconds(time.time() - fields['began'])} ago and has not ended"
        return _Backup(made, size, name, problem)

    def _newest(self) -> _Backup:
        """Return the newest of the files that is no newer than the marker."""
        marked = float("inf")
        if self.options.marker is not None:
            try:
                marked = (self.partition / self.options.marker).stat().st_mtime
            except FileNotFoundError:
                marked = float("-inf")  # none ever succeeded
        found = sorted(self._found(), reverse=True)
        whole = [item for item in found if item[0] <= marked]
        begun = [item for item in found if item[0] > marked]
        problem = ""
        if begun and time.time() - begun[-1][0] > self.options.maximum_duration:
            _, _, name = begun[-1]
            ago = show_seconds(time.time() - begun[-1][0])
            problem = f"{name} was written {ago} ago, and {self.options.marker} has not told of a success since"
        return _Backup(*whole[0], problem) if whole else _Backup(problem=problem)

    def _found(self) -> list[tuple[float, int, str]]:
        """Return time, size and path of each file."""
        found = []
        for pattern in self.options.files:
            for name in glob.iglob(pattern, root_dir=self.partition, recursive=True):  # noqa: PTH207 (absolute ones too)
                try:
                    status = os.stat(self.partition / name)  # noqa: PTH116 (the error is to name the path)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(status.st_mode):
                    found.append((status.st_mtime, status.st_size, name))
        return found


def _parse(data: bytes, path: Path) -> dict[str, Any]:
    """Return the fields of a status file, each of its type."""
    fix = "Look what writes it"
    kinds: dict[str, type | tuple[type, ...]] = {
        "result": str,
        "began": (int, float),
        "error": str,
        "generation": str,
        "bytes": int,
    }
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or fields.get("format") != _FORMAT:
        raise AllotmentError(f"{path} is no status of a backup of format {_FORMAT}", fix)
    for name, kind in kinds.items():
        if not isinstance(fields.get(name), kind):
            raise AllotmentError(f"{path}: {name} is {fields.get(name)!r}", fix)
    try:
        datetime.strptime(fields["generation"] or "20200101T000000.0Z", _NAME)
    except ValueError:
        raise AllotmentError(f"{path}: generation is {fields['generation'][:80]!r}, which is no time", fix) from None
    return fields
