# SPDX-License-Identifier: Apache-2.0
"""Profiles that others extend by their URL: each is pinned, and comes from the source providers like every source."""

import posixpath
import re
import urllib.parse
from pathlib import Path
from typing import Final

from allotment.blobs import BlobStore
from allotment_recipes.context import RunContext
from allotment_recipes.lock_file import Pin
from allotment_recipes.option_error import ProfileError
from allotment_recipes.providers.url import shown
from allotment_recipes.source_lock import SourceLock
from allotment_recipes.sources import Source, fetch

_LIMIT: Final = 16 << 20  # bytes of a profile
_SCHEME: Final = re.compile(r"[A-Za-z0-9+.-]+://")
_DOWNLOADED: Final = " (downloaded as "  # what upstream's name of such a profile goes on with


class RemoteProfiles:
    """The remote profiles of one run. An instance's run reads none: it fetches nothing."""

    def __init__(self, lock: SourceLock, run: RunContext) -> None:
        self._lock = lock
        self._run = run
        self._pinned: dict[str, str] = {}  # address -> sha256

    def file(self, url: str) -> Path:
        """Return the file that has the profile, brought here if need be; it has the bytes that are pinned."""
        address, _, fragment = url.partition("#")
        address = place(address)
        where = f"[buildout] extends: {shown(address)}"
        if not address.lower().startswith(("http://", "https://")):
            raise ProfileError(f"{where} is not an address of a profile", "Write http or https, or a file's path")
        if self._run.instance is not None:
            raise ProfileError(
                f"{where}: an instance fetches nothing", "Extend it in software.cfg, or put the file into the release"
            )
        kind, _, digest = fragment.partition("=")
        if kind not in ("", "sha256", "md5"):
            raise ProfileError(f"{where}: '#{fragment}' is not a checksum", "Write it like #sha256=<64 digits>")
        blobs = BlobStore(self._run.sources)
        if kind == "sha256":
            sha256 = digest.strip().lower()
        else:
            sha256 = self._lock.profile(Pin(address, digest.strip().lower()), blobs)
        if self._pinned.setdefault(address, sha256) != sha256:  # what it says is taken once only
            raise ProfileError(f"{where} is extended with two different checksums", "Pin it alike everywhere")
        fetch(Source(sha256, where, (address,), size_limit=_LIMIT), blobs)
        return blobs.path(sha256)


def is_remote(name: str) -> bool:
    """Whether the name of a profile is a URL."""
    return _SCHEME.match(name) is not None


def place(name: str) -> str:
    """Return where a profile is, without ``..`` in it: a path or a URL, by the name that upstream has for it."""
    if not is_remote(name):
        return posixpath.normpath(name)
    parts = urllib.parse.urlsplit(name.partition(_DOWNLOADED)[0])
    path = posixpath.normpath(f"/{parts.path.lstrip('/')}")
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
