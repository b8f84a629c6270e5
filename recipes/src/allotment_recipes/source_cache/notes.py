# SPDX-License-Identifier: Apache-2.0
"""What people want to know of a blob in the source cache: its name, and when it was last used."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from allotment.atomic import write_bytes
from allotment.blobs import BlobStore


@dataclass(frozen=True)
class Cached:
    """One blob of the source cache."""

    sha256: str
    size: int  # bytes
    used: float  # UTC epoch seconds of its last use, or else of its arrival
    names: tuple[str, ...]  # by which it was asked for; none when it was before there were notes


def note(blobs: BlobStore, sha256: str, name: str) -> None:
    """Note that a blob was used now, by this name; a note that can't be written is none."""
    with suppress(OSError):
        path = _path(blobs, sha256)
        names = _names(path)
        if name in names:
            path.touch()
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, json.dumps({"names": sorted({*names, name})}).encode(), sync=False)


def cached(blobs: BlobStore) -> Iterator[Cached]:
    """Yield all blobs, by their hash."""
    for path in sorted(blobs.folder.glob("[0-9a-f][0-9a-f]/*")):
        if re.fullmatch(r"[0-9a-f]{64}", path.name):
            with suppress(FileNotFoundError):  # removed under us
                status, beside = path.stat(), _path(blobs, path.name)
                used = max(status.st_mtime, beside.stat().st_mtime if beside.exists() else 0.0)
                yield Cached(path.name, status.st_size, min(used, time.time()), tuple(_names(beside)))


def _names(path: Path) -> list[str]:
    try:
        return [str(name) for name in json.loads(path.read_bytes())["names"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _path(blobs: BlobStore, sha256: str) -> Path:
    return blobs.folder / ".notes" / sha256[:2] / sha256
