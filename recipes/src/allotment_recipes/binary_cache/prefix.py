# SPDX-License-Identifier: Apache-2.0
"""Where built files name their store, and what hides that name from a substitution of the same length.

In a packed part the store's root is written as ``ANY_ROOT``, so that the same part built in two stores is packed as the
same bytes. As every root is ``ROOT_LENGTH`` bytes long, nothing moves: ELF files, and Python's compiled files, stay
what they are. Compressed and encoded texts don't, and keep a part to its root.
"""

import base64
import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, cast

from allotment_recipes.binary_cache.zstd import zstd
from allotment_recipes.store import ROOT_LENGTH

ANY_ROOT: Final = b"/the-store".ljust(ROOT_LENGTH, b"_")
_CHUNK: Final = 1 << 20  # bytes
_LOOKED_AT: Final = 1 << 30  # bytes of one compressed file
_DEPTH: Final = 3  # archives inside archives
_PACKED: Final = (
    (b"\x1f\x8b", "gzip", gzip.open),
    (b"\xfd7zXZ\x00", "xz", lzma.open),
    (b"]\x00\x00", "lzma", lzma.open),
    (b"BZh", "bzip2", bz2.open),
)
_ZIP: Final = b"PK\x03\x04"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"


class _TooLarge(Exception):
    """More comes out of a compressed file than is looked at."""


def offsets(data: bytes, root: bytes) -> list[int]:
    """Return where the root occurs in a file; anything may follow it, as binary formats don't end a text."""
    found = []
    at = data.find(root)
    while at >= 0:
        found.append(at)
        at = data.find(root, at + len(root))
    return found


def hidden(path: Path, root: bytes) -> str:
    """Return how a file hides the root, in words that follow the file's name; empty when it doesn't."""
    with path.open("rb") as file:
        start = file.read(6)
        file.seek(0)
        return _hidden_in(file, start, root, 0) or _encoded(path, root)


def _hidden_in(stream: IO[bytes], start: bytes, root: bytes, depth: int) -> str:
    """Look into what is compressed; ``start`` is its first bytes, and the stream is at its beginning."""
    try:
        for magic, name, opener in _PACKED:
            if start.startswith(magic):
                with cast(IO[bytes], opener(stream, "rb")) as inner:
                    return _search(inner, root, depth, f"compressed by {name}")
        if start.startswith(_ZSTD):
            with zstd().ZstdFile(stream) as inner:
                return _search(inner, root, depth, "compressed by zstd")
        if start.startswith(_ZIP) or (
            start.startswith(b"#!") and zipfile.is_zipfile(stream)
        ):  # also of Python's zipapp
            return _search_zip(stream, root, depth)
    except _TooLarge:
        return f"has more than {_LOOKED_AT >> 20} MiB compressed in it, which may name the store"
    except (OSError, EOFError, ValueError, RuntimeError, zlib.error, lzma.LZMAError, zipfile.BadZipFile):
        return ""  # it only looks like it: test data of some program, or a file that begins alike
    except zstd().ZstdError:
        return ""
    return ""


def _search(stream: IO[bytes], root: bytes, depth: int, how: str) -> str:
    """Read to the end; keep it when it is an archive itself, and look into that too."""
    start = stream.read(6)
    is_packed = depth < _DEPTH and start.startswith((*(magic for magic, _, _ in _PACKED), _ZIP, _ZSTD))
    kept = io.BytesIO(start) if is_packed else None
    if kept is not None:
        kept.seek(0, io.SEEK_END)
    last, size = start, len(start)
    while chunk := stream.read(_CHUNK):
        size += len(chunk)
        if size > _LOOKED_AT:
            raise _TooLarge
        if root in last + chunk:
            return f"names the store {how}"
        last = (last + chunk)[-len(root) :]
        if kept is not None:
            kept.write(chunk)
    if root in last:
        return f"names the store {how}"
    if kept is None:
        return ""
    kept.seek(0)
    return _hidden_in(kept, start, root, depth + 1)


def _search_zip(stream: IO[bytes], root: bytes, depth: int) -> str:
    with zipfile.ZipFile(stream) as archive:
        for info in archive.infolist():
            with archive.open(info) as member:
                if found := _search(member, root, depth, f"in the member {info.filename} of a zip archive"):
                    return found
    return ""


def _encoded(path: Path, root: bytes) -> str:
    data = path.read_bytes()
    return next((f"names the store {how}" for how, text in _encodings(root) if text in data), "")


def _encodings(root: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield how the root is written where programs encode texts; none of these has its length."""
    yield "in hexadecimal digits", root.hex().encode()
    yield "in hexadecimal digits", root.hex().upper().encode()
    for shift in range(3):  # what stands before it decides where its groups of three bytes begin
        whole = root[-shift % 3 :]
        yield "in base64", base64.b64encode(whole[: len(whole) // 3 * 3])
    yield "in UTF-16", root.decode(errors="replace").encode("utf-16-le")
    yield "in UTF-16", root.decode(errors="replace").encode("utf-16-be")
    yield "with escaped slashes", root.replace(b"/", b"\\/")
    yield "as part of a URL", root.replace(b"/", b"%2F")
    yield "as part of a URL", root.replace(b"/", b"%2f")
