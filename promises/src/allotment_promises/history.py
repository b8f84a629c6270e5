# SPDX-License-Identifier: Apache-2.0
"""What promises measured before: a small file of JSON lines per promise, appended to, bounded in size.

The partition's user can write these files, so nothing in them is trusted: links are not followed, what can't be read
is as if it were not there.
"""

import contextlib
import json
import os
import secrets
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allotment.atomic import read_limited
from allotment.errors import AllotmentError
from allotment_promises.measurement import Measurement

FOLDER = Path(".allotment/promises")
SIZE_LIMIT = 1 << 16  # bytes of one promise's file; beyond it the older half is dropped
MESSAGE_LIMIT = 200  # characters
_HEADER = b'{"format": 1}\n'


@dataclass(frozen=True)
class Record:
    """One measurement of the past."""

    time: float  # UTC epoch, seconds
    seconds: float
    is_passed: bool | None  # None: the promise itself failed to measure
    message: str = ""  # of failures only


class History:
    """The measurements of one partition's promises."""

    def __init__(self, partition: Path) -> None:
        self._folder = partition / FOLDER

    def newest(self, name: str, count: int) -> list[Record]:
        """Return up to ``count`` newest records of a promise, oldest first."""
        lines = self._read(name)[-count:] if count > 0 else []
        return [record for record in map(_parse, lines) if record is not None]

    def measurements(self, name: str, count: int) -> list[Measurement]:
        """Return up to ``count`` newest measurements, oldest first; runs without one are passed over."""
        records = [record for record in self.newest(name, 2 * count) if record.is_passed is not None]
        return [Measurement(bool(record.is_passed), record.message) for record in records[-count:]]

    def append(self, name: str, record: Record) -> None:
        """Add a record; an OSError means that the partition is full or its folder is not writable."""
        self._folder.mkdir(parents=True, exist_ok=True)
        message = "" if record.is_passed else record.message[:MESSAGE_LIMIT]
        data = {"t": round(record.time, 3), "s": round(record.seconds, 4), "ok": record.is_passed, "m": message}
        line = json.dumps({key: value for key, value in data.items() if value != ""}).encode() + b"\n"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        handle = os.open(self._path(name), flags, 0o600)
        try:
            size = os.fstat(handle).st_size
            os.write(handle, line if size else _HEADER + line)
        finally:
            os.close(handle)
        if size > SIZE_LIMIT:
            self._compact(name)

    def prune(self, kept: Container[str]) -> None:
        """Drop the records of promises that are not among ``kept``."""
        with contextlib.suppress(FileNotFoundError):
            for path in list(self._folder.iterdir()):
                if path.suffix == ".jsonl" and path.stem not in kept:
                    path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.jsonl"

    def _read(self, name: str) -> list[bytes]:
        try:
            data = read_limited(self._path(name), 2 * SIZE_LIMIT) or b""
        except (AllotmentError, OSError):
            return []
        return data[len(_HEADER) :].splitlines() if data.startswith(_HEADER) else []

    def _compact(self, name: str) -> None:
        """Write the newer half anew. A record that another run appends meanwhile may be lost; a half file can't be."""
        lines = self._read(name)
        temporary = self._folder / f".{secrets.token_hex(4)}.new"
        temporary.write_bytes(_HEADER + b"".join(line + b"\n" for line in lines[len(lines) // 2 :]))
        os.replace(temporary, self._path(name))


def _parse(line: bytes) -> Record | None:
    try:
        data: Any = json.loads(line)
        is_passed = data["ok"]
        if is_passed not in (True, False, None):
            return None
        return Record(float(data["t"]), float(data["s"]), is_passed, str(data.get("m", "")))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None  # half a line after a full disk, or what somebody else wrote
