# SPDX-License-Identifier: Apache-2.0
"""A binary cache in a folder: of this machine, or one that several mount."""

import contextlib
import os
import re
import secrets
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from allotment.blobs import BlobStore
from allotment.codec import dumps
from allotment.errors import AllotmentError, UnreachableError
from allotment.messages.binary_cache import SignedPackedPart
from allotment_recipes.binary_cache.caches import keeps

PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,250}")  # the folder of a part in a store
_CHUNK: Final = 1 << 18  # bytes


class FolderCache:
    """``entries/<part>.json`` and ``archives/<2 digits>/<sha256>`` in a folder; an entry comes after its archive."""

    def __init__(self, url: str, token: str = "") -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.netloc not in ("", "localhost"):
            raise AllotmentError(f"{url} names the host {parts.netloc}", "Write file:///path")
        self.folder = Path(urllib.parse.unquote(parts.path) if parts.scheme else url).absolute()
        self.name = str(self.folder)
        self._archives = BlobStore(self.folder / "archives")

    def entries(self, parts: Sequence[str]) -> Mapping[str, bytes]:
        found = {}
        with _telling():
            for part in filter(PART.fullmatch, parts):
                with contextlib.suppress(FileNotFoundError):
                    found[part] = self._entry(part).read_bytes()
        return found

    def names(self, after: str, limit: int) -> Sequence[str]:
        with _telling(), contextlib.suppress(FileNotFoundError):
            found = (path.stem for path in (self.folder / "entries").glob("[!.]*.json"))
            return sorted(name for name in found if name > after)[:limit]
        return ()

    def size(self, sha256: str) -> int | None:
        path = self._archives.path(sha256)
        return path.stat().st_size if path.is_file() else None

    def read(self, sha256: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        path, left = self._archives.path(sha256), -1 if end is None else end - start
        with _telling(), path.open("rb") as file:
            file.seek(start)
            while left and (chunk := file.read(min(_CHUNK, left) if left > 0 else _CHUNK)):
                left -= len(chunk) if left > 0 else 0
                yield chunk

    def add(self, signed: SignedPackedPart, archive: Path, told: Callable[[int], None]) -> bool:
        blob = signed.packed.archive
        if self.size(blob.sha256) != blob.size:
            self._archives.add(archive, blob.sha256)
        told(blob.size)
        path = self._entry(signed.packed.part)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{secrets.token_hex(8)}")
        try:
            with temporary.open("xb") as file:
                file.write(dumps(signed))
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(temporary, path)  # the first one stays
            except FileExistsError:
                if keeps(self, signed.packed.part, path.read_bytes()):
                    return False
                os.replace(temporary, path)
        except OSError as error:
            error.filename = error.filename or str(path.parent)
            raise
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def _entry(self, part: str) -> Path:
        if not PART.fullmatch(part):
            raise AllotmentError(f"{part!r} is not the name of a part", "Write it as its folder is called in the store")
        return self.folder / "entries" / f"{part}.json"


@contextlib.contextmanager
def _telling() -> Iterator[None]:
    """Say what can't be read; a build goes on without it then."""
    try:
        yield
    except FileNotFoundError as error:
        raise AllotmentError(f"{error.filename} is not there any more", "Push the part again") from error
    except OSError as error:
        raise UnreachableError(f"it can't be read: {error.filename}: {error.strerror}") from error
