# SPDX-License-Identifier: Apache-2.0
"""What a binary cache is to those who use one: a few calls, whichever way the bytes are kept."""

import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from allotment.errors import AllotmentError, UnreachableError, nearest
from allotment.messages.binary_cache import SignedPackedPart
from allotment.plugins import load, plugins
from allotment_recipes.binary_cache.entry import archive_of


class TooSlowError(UnreachableError):
    """A cache brings so little that building is quicker; trying again at once would not help."""


class BinaryCache(Protocol):
    """A place of packed parts. Entries never change; what they say is for the caller to verify.

    Every call raises AllotmentError with its reason, UnreachableError where trying again may help.
    """

    name: str  # for people: its address

    def entries(self, parts: Sequence[str]) -> Mapping[str, bytes]:
        """Return the signed entries, as JSON, of those parts that are here, by the name of their folder."""
        ...

    def names(self, after: str, limit: int) -> Sequence[str]:
        """Return up to so many of the parts that are here, sorted, from the first one after ``after``."""
        ...

    def size(self, sha256: str) -> int | None:
        """Return the bytes of an archive, None when it is not here."""
        ...

    def read(self, sha256: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield an archive's bytes from ``start`` to before ``end``; to its end by default."""
        ...

    def add(self, signed: SignedPackedPart, archive: Path, told: Callable[[int], None]) -> bool:
        """Keep a part, unless it is here; return whether it was not. ``told`` hears how many bytes are there.

        One of which the archive, or what the entry says, has been lost is not here: the entry is replaced.
        """
        ...


def keeps(cache: BinaryCache, part: str, data: bytes | None) -> bool:
    """Tell whether a cache has the archive too that its entry ``data`` names."""
    blob = None if data is None else archive_of(data, part)
    return blob is not None and cache.size(blob.sha256) == blob.size


def open_cache(url: str, token: str = "") -> BinaryCache:
    """Return the cache at a URL, whose scheme says of which kind it is; a path is a folder."""
    try:
        scheme = urllib.parse.urlsplit(url).scheme or "file"
    except ValueError as error:
        raise AllotmentError(f"{url!r} is no binary cache: {error}", "Write it like https://host/folder") from error
    kinds = {item.name: item for item in plugins().items("allotment_binary_caches")}
    if scheme not in kinds:
        raise AllotmentError(f"{url!r} is no binary cache: its scheme is not known", nearest(scheme, tuple(kinds)))
    opened: BinaryCache = load(kinds[scheme].target)(url, token)
    return opened
