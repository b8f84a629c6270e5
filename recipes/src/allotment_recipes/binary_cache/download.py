# SPDX-License-Identifier: Apache-2.0
"""An archive of a binary cache: hashed while it comes; what a lost connection or a kill leaves is gone on with."""

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from io import BufferedRandom
from pathlib import Path
from typing import IO, Final

from allotment.errors import AllotmentError, RefusedError, UnreachableError
from allotment.messages.binary_cache import PackedPart
from allotment_recipes.binary_cache.caches import BinaryCache, TooSlowError
from allotment_recipes.progress import Progress

ATTEMPTS: Final = 5  # connections that may be lost, each after it brought something
_CHUNK: Final = 1 << 20  # bytes
_ABANDONED: Final = 86400.0  # seconds without another byte


@contextlib.contextmanager
def downloaded(cache: BinaryCache, packed: PackedPart, folder: Path) -> Iterator[IO[bytes]]:
    """Give the verified archive of a part, at its beginning; it is removed afterwards.

    ``folder`` keeps what has come so far; of two that want the same archive, one waits for the other.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    path = folder / packed.archive.sha256
    with _alone(path) as file:
        _complete(cache, packed, file)
        try:
            file.seek(0)
            yield file
        finally:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[BufferedRandom]:
    while True:
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):  # whoever had it has removed it: once more
                if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                    yield file
                    return


def _complete(cache: BinaryCache, packed: PackedPart, file: BufferedRandom) -> None:
    """Bring what is lacking; other bytes than were signed are refused, and not kept."""
    wanted = packed.archive
    for attempt in range(1, ATTEMPTS + 1):
        before = os.fstat(file.fileno()).st_size
        if before > wanted.size:
            file.truncate(0)
            before = 0
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256") if before else hashlib.sha256()
        try:
            _bring(cache, packed, file, before, digest)
        except TooSlowError:
            raise
        except UnreachableError:
            if attempt == ATTEMPTS or os.fstat(file.fileno()).st_size <= before:
                raise
            continue
        except RefusedError:
            if not before:
                raise
            file.truncate(0)  # it sends no rest of an archive: once more, from nothing
            continue
        if digest.hexdigest() == wanted.sha256:
            return
        file.truncate(0)
        if not before:
            raise AllotmentError(f"its bytes have the sha256 {digest.hexdigest()}, and {wanted.sha256} was signed")
    raise UnreachableError("the connection was lost again and again")


def _bring(cache: BinaryCache, packed: PackedPart, file: IO[bytes], size: int, digest: "hashlib._Hash") -> None:
    wanted = packed.archive
    if size == wanted.size:  # killed when all was there
        return
    progress = Progress(packed.part, wanted.size, size)
    for chunk in cache.read(wanted.sha256, size):
        size += len(chunk)
        if size > wanted.size:
            file.truncate(0)
            raise AllotmentError(f"it sends more than the {wanted.size} bytes that were signed")
        file.write(chunk)
        file.flush()  # a kill loses nothing of what has come
        digest.update(chunk)
        progress.reach(size)
    if size < wanted.size:
        file.truncate(0)
        raise AllotmentError(f"it has {size} bytes, and {wanted.size} were signed")


def _sweep(folder: Path) -> None:
    """Remove what downloads that were never taken up again have left."""
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink()
