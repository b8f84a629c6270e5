# SPDX-License-Identifier: Apache-2.0
"""The index of a log: a header and, for each frame, one mark of fixed size that says where the frame ends.

Marks are only added, each in one write after its frame. A mark that is torn by a crash is not there.
"""

import os
import struct
from pathlib import Path
from typing import Final, NamedTuple

from allotment.errors import AllotmentError

_RECORD: Final = struct.Struct("<QQQ")
_MAGIC: Final = int.from_bytes(b"allotlog", "little")
_FORMAT: Final = 1


class Mark(NamedTuple):
    """The border between two frames."""

    offset: int  # bytes of plain text before it
    lines: int  # line breaks before it
    place: int  # bytes of the packed file before it


START: Final = Mark(0, 0, 0)


def read(path: Path) -> list[Mark]:
    """Return the marks, the first of which is always :data:`START`; one that is not there has no other."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [START]
    records = [Mark(*record) for record in _RECORD.iter_unpack(data[: len(data) - len(data) % _RECORD.size])]
    if not records:  # its header is torn
        return [START]
    magic, format_, _ = records[0]
    if magic != _MAGIC or format_ != _FORMAT:
        raise AllotmentError(
            f"{path} is not the index of a log in format {_FORMAT}", "Read it with the version that has written it"
        )
    return [START, *records[1:]]


def add(path: Path, kept: int, mark: Mark) -> None:
    """Write ``mark`` after the first ``kept`` marks (:data:`START` is the first); others are dropped."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    with os.fdopen(handle, "r+b", buffering=0) as file:
        file.truncate(kept * _RECORD.size if os.fstat(handle).st_size >= _RECORD.size else 0)
        record = _RECORD.pack(*mark)
        file.seek(0, os.SEEK_END)
        file.write(record if file.tell() else _RECORD.pack(_MAGIC, _FORMAT, 0) + record)
