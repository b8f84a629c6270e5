# SPDX-License-Identifier: Apache-2.0
"""A folder of bytes named by their sha256: profile closures, source archives, whatever is pinned by its hash."""

import contextlib
import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from allotment.errors import AllotmentError

_NAME: Final = re.compile(r"[0-9a-f]{64}")
_NEW: Final = ".new-"  # opens the name of a blob that is being written
_ABANDONED: Final = 86400.0  # seconds without another byte
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class BlobStore:
    """Content-addressed folder; a blob is written aside and renamed, so a name that exists is whole and verified."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, sha256: str) -> Path:
        """Return where the blob is, or would be."""
        if not _NAME.fullmatch(sha256):
            raise AllotmentError(f"{sha256!r} is not a sha256", "Give 64 hexadecimal digits")
        return self.folder / sha256[:2] / sha256

    def __contains__(self, sha256: str) -> bool:
        return self.path(sha256).is_file()

    def read(self, sha256: str) -> bytes:
        """Return a blob's bytes, verified; a missing or damaged one is an error."""
        path = self.path(sha256)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise AllotmentError(f"blob {sha256} is not in {self.folder}", "Upload it first") from None
        if hashlib.sha256(data).hexdigest() != sha256:
            path.unlink(missing_ok=True)  # damaged on disk: gone, so that it is fetched anew
            raise AllotmentError(f"blob {sha256} in {self.folder} was damaged and has been removed", "Fetch it again")
        return data

    def write(self, chunks: Iterable[bytes], expected: str | None = None, limit: int | None = None) -> str:
        """Store bytes and return their sha256; bytes that differ from ``expected`` or exceed ``limit`` are refused."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        digest = hashlib.sha256()
        size = 0
        handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=_NEW)
        try:
            with os.fdopen(handle, "wb") as file:
                for chunk in chunks:
                    size += len(chunk)
                    if limit is not None and size > limit:
                        raise AllotmentError(f"a blob is larger than {limit} bytes", "Send a smaller one")
                    digest.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            name = digest.hexdigest()
            if expected is not None and name != expected:
                raise AllotmentError(
                    f"the sha256 should be {expected} but is {name}",
                    "Correct the checksum if the new bytes are what you want, else look for who changed them",
                )
            target = self.path(name)
            target.parent.mkdir(exist_ok=True)
            os.replace(temporary, target)
        except BaseException as error:
            Path(temporary).unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno in _FULL and error.filename is None:
                error.filename = str(self.folder)  # the error of a file that is open names none
            raise
        return name

    def add(self, path: Path, expected: str | None = None) -> str:
        """Store a file's bytes and return their sha256."""
        with path.open("rb") as file:
            return self.write(iter(lambda: file.read(1 << 20), b""), expected)

    def copy(self, sha256: str, target: Path) -> None:
        """Copy a blob to ``target`` after verifying it."""
        self.read(sha256)
        shutil.copyfile(self.path(sha256), target)

    def _sweep(self) -> None:
        """Remove what writers that were killed have left."""
        for path in self.folder.glob(f"{_NEW}*"):
            with contextlib.suppress(FileNotFoundError):  # its writer has ended just now
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    path.unlink()
