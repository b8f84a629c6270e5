# SPDX-License-Identifier: Apache-2.0
"""Compare files with a list of checksums as sha256sum writes it."""

import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from allotment.errors import AllotmentError

_LINE = re.compile(rb"(\\?)([0-9a-f]{64}) [ *](.+)", re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_CHARACTERS = {b"n": b"\n", b"r": b"\r", b"\\": b"\\"}


@dataclass(frozen=True)
class Compared:
    """How many files and bytes were looked at, and the first that differs: empty when none does."""

    files: int
    bytes: int
    problem: str = ""


def compare(sums: Path, folder: Path, deadline: float) -> Compared:
    """Compare the files of ``folder`` with a list; ``deadline`` is on the monotonic clock.

    Files that the list does not name do not matter. A list that can't be read is an OSError or an AllotmentError.
    """
    files = size = 0
    for digest, name in _listed(sums):
        try:
            found, read = _digest(folder / os.fsdecode(name), deadline)
        except TimeoutError:
            return Compared(files, size, f"only {files} files could be compared in time")
        except OSError as error:
            return Compared(files, size, f"{os.fsdecode(name)!r} is not there as it was: {error.strerror}")
        files, size = files + 1, size + read
        if found != digest:
            return Compared(files, size, f"{os.fsdecode(name)!r} is another file than its checksum tells")
    return Compared(files, size)


def _listed(sums: Path) -> Iterator[tuple[str, bytes]]:
    """Yield checksum and path of each line."""
    with sums.open("rb") as file:
        for number, line in enumerate(file, 1):
            found = _LINE.fullmatch(line.removesuffix(b"\n"))
            if found is None:
                raise AllotmentError(f"{sums}: line {number} is not one of sha256sum", "Look what writes it")
            name = found[3]
            if found[1]:
                name = _ESCAPED.sub(lambda match: _CHARACTERS.get(match[1], match[0]), name)
            path = PurePosixPath(os.fsdecode(name))
            if path.is_absolute() or ".." in path.parts or b"\0" in name:
                raise AllotmentError(f"{sums}: line {number} leads out of the folder", "Look what writes it")
            yield found[2].decode(), name


def _digest(path: Path, deadline: float) -> tuple[str, int]:
    """Return checksum and size of a regular file."""
    digest, size = hashlib.sha256(), 0
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(0, "it is no regular file")
        while chunk := file.read(1 << 20):
            if time.monotonic() > deadline:
                raise TimeoutError
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size
