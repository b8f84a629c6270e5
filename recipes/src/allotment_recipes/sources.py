# SPDX-License-Identifier: Apache-2.0
"""Pinned sources: what is wanted is a sha256, and whoever brings those bytes is believed."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError
from allotment.hookspecs import SourceProvider
from allotment.plugins import load, plugins

_SHA256 = re.compile(r"[0-9a-f]{64}")


class SourceError(AllotmentError):
    """No provider brought the bytes; the text lists each one's reason."""


class NotMine(AllotmentError):
    """A provider has nothing to do with this source; it is left out of the reasons."""


@dataclass(frozen=True)
class Source:
    """Bytes that are known by their hash, and the hints that providers may use to find them."""

    sha256: str
    name: str  # for people: a file's or a package's name
    urls: tuple[str, ...] = ()
    requirement: str = ""  # "name==version" of a Python distribution
    size_limit: int = 2 << 30  # bytes

    def __post_init__(self) -> None:
        if not _SHA256.fullmatch(self.sha256):
            raise AllotmentError(
                f"{self.name}: {self.sha256!r} is not a sha256", "Give 64 hexadecimal digits, as sha256sum prints them"
            )


def providers() -> list[SourceProvider]:
    """Return every registered provider, in the order in which they are asked."""
    return sorted(plugins().items("allotment_source_providers"), key=lambda item: item.order)


def fetch(source: Source, blobs: BlobStore, among: Iterable[SourceProvider] | None = None) -> None:
    """Bring a source into ``blobs``; when all providers fail, one error lists every provider's reason."""
    reasons = []
    for provider in providers() if among is None else among:
        try:
            load(provider.target)(source, blobs)
            if source.sha256 in blobs:
                return
            reasons.append(f"{provider.name}: brought nothing")
        except NotMine:
            continue
        except AllotmentError as error:
            reasons.append(f"{provider.name}: {error.what}")
    listed = "; ".join(reasons) or "no provider is registered for it"
    raise SourceError(
        f"{source.name} (sha256 {source.sha256}) can't be had: {listed}",
        "Correct its address or checksum, or put the bytes into the source cache",
    )
