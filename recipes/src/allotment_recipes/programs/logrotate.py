# SPDX-License-Identifier: Apache-2.0
"""Rotate a partition's logs: what stands in ``etc/logrotate.d``, looked at once an hour by cron.

    python -m allotment_recipes.programs.logrotate --entries FOLDER --state FILE

A log is renamed to a name with the time in it, ``site.log-20261123-103800``, so that no file is ever renamed twice and
a run that is killed leaves nothing half done: the next one goes on. A rotated file is compressed only when ``post`` has
told the service to open its log anew, and the plain file is removed when the compressed one is on the disk.
"""

import argparse
import contextlib
import dataclasses
import datetime
import fcntl
import glob
import gzip
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from allotment.atomic import read_limited, write_bytes
from allotment.errors import AllotmentError
from allotment.options import Lines, option_name, parse_options

FREQUENCIES: Final = {"hourly": "%Y%m%d%H", "daily": "%Y%m%d", "weekly": "%G%V", "monthly": "%Y%m", "yearly": "%Y"}
_FORMAT: Final = 1  # of an entry
_ROTATED: Final = re.compile(r"(.+)-(\d{8}-\d{6}(?:\.\d+)?)(\.gz)?", re.DOTALL)
_LIMIT: Final = 1 << 20  # bytes of an entry
_STATE_LIMIT: Final = 16 << 20  # bytes
_MEMORY: Final = 400 * 86400.0  # seconds; longer than any frequency
_PATIENCE: Final = 300.0  # seconds for pre and post


@dataclass(frozen=True)
class Entry:
    """A file of ``etc/logrotate.d``."""

    log: Lines  # patterns
    frequency: str  # of FREQUENCIES
    rotate_num: int  # rotated files that are kept
    compress: bool
    delaycompress: bool  # not the newest one
    copytruncate: bool
    pre: str = ""
    post: str = ""
    backup: str = ""  # folder of the rotated files; empty: the log's own
    size: int = 0  # bytes from which a log does not wait for its time; 0: any

    def __post_init__(self) -> None:
        if self.frequency not in FREQUENCIES or self.rotate_num < 1:
            raise ValueError(f"frequency is one of {', '.join(FREQUENCIES)}, and rotate-num above zero")

    def text(self) -> str:
        """Return the file's text."""
        fields = {option_name(name): value for name, value in dataclasses.asdict(self).items()}
        return json.dumps({"format": _FORMAT, **fields}, indent=2, ensure_ascii=False) + "\n"


def read_entry(path: Path) -> Entry:
    """Return a file of ``etc/logrotate.d``; what is wrong with it is an AllotmentError or a ValueError."""
    fields = json.loads(read_limited(path, _LIMIT) or b"")
    if not isinstance(fields, dict) or fields.pop("format", None) != _FORMAT:
        raise AllotmentError(f"it is not format {_FORMAT}", "Write it with the recipe logrotate.entry")
    return parse_options(Entry, fields)


@dataclass
class State:
    """What earlier runs have done: when each log was rotated, and for which entries ``post`` is still to be run."""

    path: Path
    rotated: dict[str, float] = field(default_factory=dict)
    pending: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, path: Path) -> "State":
        """Return the state; one that was cut short counts as none."""
        try:
            data: Any = json.loads(read_limited(path, _STATE_LIMIT) or b"{}")
            rotated = {str(log): float(at) for log, at in data["rotated"].items()}
            return cls(path, rotated, {str(name) for name in data["pending"]})
        except (AllotmentError, ValueError, KeyError, TypeError, AttributeError):
            return cls(path)

    def write(self) -> None:
        """Keep it, safely: what is pending must not be forgotten."""
        data = {"format": 1, "rotated": self.rotated, "pending": sorted(self.pending)}
        write_bytes(self.path, json.dumps(data).encode(), 0o600)


class Rotation:
    """One run over all entries."""

    def __init__(self, entries: Path, state: State, now: float, say: Callable[[str], None]) -> None:
        self._entries = entries
        self._state = state
        self._now = now
        self._moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
        self._say = say
        self._problems = 0
        self._seen: dict[str, str] = {}  # log -> its entry
        self._places: dict[Path, str] = {}  # what rotated files are called, without the time -> log

    def run(self) -> int:
        """Return how many problems there were; each was said, and the other entries were done."""
        loaded = {path.name: entry for path in _files(self._entries) if (entry := self._load(path)) is not None}
        for name, entry in loaded.items():
            try:
                self._rotate(name, entry)
            except OSError as error:
                self._complain(name, f"{error.filename or ''}: {error.strerror}")
        # A log that was renamed is away until its service opens it anew.
        self._state.rotated = {log: at for log, at in self._state.rotated.items() if self._now - at < _MEMORY}
        self._state.pending &= loaded.keys()
        self._state.write()
        return self._problems

    def _load(self, path: Path) -> Entry | None:
        try:
            return read_entry(path)
        except (AllotmentError, ValueError) as error:
            self._complain(path.name, str(error))
            return None

    def _rotate(self, name: str, entry: Entry) -> None:
        logs = list(self._logs(name, entry))
        due = [log for log in logs if self._is_due(log, entry)]
        if due and self._call(name, "pre", entry.pre):
            self._state.pending.add(name)
            self._state.write()  # before the first rename: then nothing is compressed that a service may still write
            for log in due:
                with self._complaining(name):
                    self._move(log, entry)
        if name in self._state.pending and self._call(name, "post", entry.post):
            self._state.pending.discard(name)
            self._state.write()
        for log in logs:
            with self._complaining(name):
                self._tidy(log, entry, is_settled=name not in self._state.pending)

    def _logs(self, name: str, entry: Entry) -> Iterator[Path]:
        for pattern in entry.log:
            for text in sorted(glob.glob(pattern)):  # noqa: PTH207 (the pattern is an absolute path)
                log = Path(text)
                if log.is_symlink() or not log.is_file() or _ROTATED.fullmatch(log.name):
                    continue
                place = Path(entry.backup or log.parent) / log.name
                if self._seen.setdefault(text, name) != name:
                    self._complain(name, f"{log} is a log of {self._seen[text]} too; it is left to that")
                elif self._places.setdefault(place, text) != text:
                    self._complain(name, f"{log} and {self._places[place]} would share names in {place.parent}")
                else:
                    yield log

    def _is_due(self, log: Path, entry: Entry) -> bool:
        size = log.stat().st_size
        last = datetime.datetime.fromtimestamp(self._state.rotated.setdefault(str(log), self._now), datetime.UTC)
        period = FREQUENCIES[entry.frequency]
        is_time = last.strftime(period) != self._moment.strftime(period)
        return size > 0 and (is_time or 0 < entry.size <= size)

    def _move(self, log: Path, entry: Entry) -> None:
        folder = Path(entry.backup or log.parent)
        folder.mkdir(parents=True, exist_ok=True)
        target = self._free_name(folder / f"{log.name}-{self._moment:%Y%m%d-%H%M%S}")
        if entry.copytruncate:
            _copy_and_truncate(log, target)
        else:
            log.rename(target)
        self._state.rotated[str(log)] = self._now
        self._say(f"{log} is now {target}")

    def _free_name(self, wanted: Path) -> Path:
        name, number = wanted, 1
        while name.exists() or name.with_name(f"{name.name}.gz").exists():
            name, number = wanted.with_name(f"{wanted.name}.{number}"), number + 1
        return name

    def _tidy(self, log: Path, entry: Entry, *, is_settled: bool) -> None:
        """Compress what is rotated, and remove the oldest."""
        rotated: dict[str, list[Path]] = {}
        for path in Path(entry.backup or log.parent).glob(f"{glob.escape(log.name)}-*"):
            match = _ROTATED.fullmatch(path.name)
            if match and match[1] == log.name:
                rotated.setdefault(match[2], []).append(path)
        names = sorted(rotated)
        if entry.compress and is_settled:
            for name in names[:-1] if entry.delaycompress else names:
                for path in rotated[name]:
                    if path.suffix != ".gz":
                        _compress(path)
        for name in names[: -entry.rotate_num]:
            for path in rotated[name]:
                path.unlink(missing_ok=True)
                path.with_name(f"{path.name}.gz").unlink(missing_ok=True)

    def _call(self, name: str, option: str, command: str) -> bool:
        if not command:
            return True
        sys.stdout.flush()
        try:
            code = subprocess.run(["/bin/sh", "-c", command], timeout=_PATIENCE, check=False).returncode
        except subprocess.TimeoutExpired:
            self._complain(name, f"{option} did not end within {_PATIENCE:.0f} s")
            return False
        if code:
            later = "nothing is rotated" if option == "pre" else "it is run again the next time"
            self._complain(name, f"{option} ended with exit code {code}; {later}")
        return code == 0

    @contextlib.contextmanager
    def _complaining(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._complain(name, f"{error.filename or ''}: {error.strerror}")

    def _complain(self, name: str, text: str) -> None:
        self._problems += 1
        self._say(f"{name}: {text}")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.json") if not path.name.startswith("."))


def _copy_and_truncate(log: Path, target: Path) -> None:
    """Copy a log that its service keeps open, and empty it; what is written between the last read and that is lost."""
    temporary = target.with_name(f".{target.name}.new")
    with log.open("rb") as source, temporary.open("wb") as copy:
        os.fchmod(copy.fileno(), os.fstat(source.fileno()).st_mode & 0o777)
        _sync(source, copy)
        _sync(source, copy)  # what came while the first was brought to the disk
        temporary.rename(target)
        shutil.copyfileobj(source, copy)
        copy.flush()
        os.truncate(log, 0)


def _sync(source: BinaryIO, copy: BinaryIO) -> None:
    shutil.copyfileobj(source, copy)
    copy.flush()
    os.fsync(copy.fileno())


def _compress(path: Path) -> None:
    """Replace a file by its compressed copy, unless somebody writes to it still."""
    target = path.with_name(f"{path.name}.gz")
    temporary = path.with_name(f".{target.name}.new")
    with path.open("rb") as source, temporary.open("wb") as raw:
        before = os.fstat(source.fileno())
        os.fchmod(raw.fileno(), before.st_mode & 0o777)
        with gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as copy:
            shutil.copyfileobj(source, copy)
        raw.flush()
        os.fsync(raw.fileno())
        after = os.fstat(source.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        temporary.unlink()
        return
    temporary.rename(target)
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    path.unlink()


def rotate(entries: Path, state: Path, now: float, say: Callable[[str], None]) -> int:
    """Make one run at ``now``, in seconds since the UTC epoch; return the number of problems."""
    state.parent.mkdir(parents=True, exist_ok=True)
    with state.with_name(f".{state.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another run with {state} goes on")
            return 1
        return Rotation(entries, State.read(state), now, say).run()


def main(arguments: list[str] | None = None) -> int:
    """Rotate what is due."""
    parser = argparse.ArgumentParser(prog="logrotate", allow_abbrev=False)
    parser.add_argument("--entries", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    options = parser.parse_args(arguments)

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of logs may be any bytes

    def say(text: str) -> None:
        sys.stdout.write(f"{text}\n")

    return min(rotate(options.entries, options.state, time.time(), say), 1)


if __name__ == "__main__":
    sys.exit(main())
