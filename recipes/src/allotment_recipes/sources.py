# SPDX-License-Identifier: Apache-2.0
"""Pinned sources: what is wanted is a sha256, and whoever brings those bytes is believed."""

import contextlib
import fcntl
import hashlib
import logging
import re
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError, MachineError
from allotment.hookspecs import SourceProvider
from allotment.plugins import load, plugins

JOBS: Final = 4  # sources that are fetched at the same time
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MD5 = re.compile(r"[0-9a-f]{32}")
_DEBIAN = re.compile(r"([a-z0-9][a-z0-9.+-]+) ([0-9][A-Za-z0-9.+:~-]*) ([a-z][a-z-]*)")
_NPM = re.compile(r"(@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*@[0-9][A-Za-z0-9.+-]*")
_logger = logging.getLogger("fetch")


class SourceError(AllotmentError):
    """No provider brought the bytes; the text lists each one's reason."""


class SourceAwayError(SourceError, MachineError):
    """As before, and the reason is not in what was asked for: a server is away, a program is missing."""


class NotMine(AllotmentError):
    """A provider has nothing to do with this source; it is left out of the reasons."""


class MovedError(AllotmentError):
    """What a pin names has other bytes now; its ``fix`` says how to write the new pin."""


@dataclass(frozen=True)
class Source:
    """Bytes that are known by their hash, and the hints that providers may use to find them."""

    sha256: str
    name: str  # for people: a file's or a package's name
    urls: tuple[str, ...] = ()
    requirement: str = ""  # "name==version" of a Python distribution
    size_limit: int = 2 << 30  # bytes
    alternates: tuple[str, ...] = ()  # further URLs, tried after all of ``urls``
    md5: str = ""  # checked as well when it is given; alone it is worth nothing
    debian: str = ""  # "package version suite" in the distribution's source archive
    npm: str = ""  # "name@version" of an npm package

    def __post_init__(self) -> None:
        self._check(_SHA256, self.sha256, "a sha256", "Give 64 hexadecimal digits, as sha256sum prints them")
        if self.md5:
            self._check(_MD5, self.md5, "an md5", "Give 32 hexadecimal digits, as md5sum prints them")
        if self.debian:
            self._check(_DEBIAN, self.debian, "'package version suite'", "Write it like: nginx 1.26.3-3 trixie")
        if self.npm:
            self._check(_NPM, self.npm, "'name@version'", "Write it like uplot@1.6.32")

    def _check(self, pattern: re.Pattern[str], text: str, what: str, fix: str) -> None:
        if not pattern.fullmatch(text):
            raise AllotmentError(f"{self.name}: {text!r} is not {what}", fix)


def providers() -> list[SourceProvider]:
    """Return every registered provider, in the order in which they are asked."""
    return sorted(plugins().items("allotment_source_providers"), key=lambda item: item.order)


def fetch(source: Source, blobs: BlobStore, among: Iterable[SourceProvider] | None = None) -> None:
    """Bring a source into ``blobs``; when all providers fail, one error lists every provider's reason.

    Of several processes that want the same source, one fetches it and the others wait.
    """
    with contextlib.ExitStack() as stack:
        if source.sha256 not in blobs:
            stack.enter_context(_alone(source, blobs.folder / ".locks" / source.sha256[:2]))
        _ask(source, blobs, providers() if among is None else among)
    if source.md5:
        _check_md5(source, blobs)


def fetch_all(wanted: Iterable[Source], blobs: BlobStore, jobs: int = JOBS) -> None:
    """Bring several sources at the same time; one error lists all that can't be had."""
    unique = list({source.sha256: source for source in wanted}.values())
    with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="fetch") as pool:
        running = [pool.submit(fetch, source, blobs) for source in unique]
    errors = [error for future in running if (error := future.exception()) is not None]
    for error in errors:
        if len(errors) == 1 or not isinstance(error, AllotmentError):
            raise error
    if errors:
        known = [error for error in errors if isinstance(error, AllotmentError)]
        fixes = dict.fromkeys(error.fix for error in known)  # each once, in order
        are_away = all(isinstance(error, MachineError) for error in known)
        kind = SourceAwayError if are_away else SourceError
        raise kind("\n".join(error.what for error in known), ". ".join(fixes))


def _ask(source: Source, blobs: BlobStore, among: Iterable[SourceProvider]) -> None:
    reasons: list[str] = []
    errors: list[AllotmentError] = []
    fix = "Correct its address or checksum, or put the bytes into the source cache"
    for provider in among:
        began = time.monotonic()
        try:
            load(provider.target)(source, blobs)
            if source.sha256 in blobs:
                if provider.order:
                    _logger.info("%s: from the %s in %.1f s", source.name, provider.name, time.monotonic() - began)
                return
            reasons.append(f"{provider.name}: brought nothing")
        except NotMine:
            continue
        except AllotmentError as error:
            reasons.append(f"{provider.name}: {error.what}")
            errors.append(error)
            fix = error.fix if isinstance(error, MovedError) else fix
    listed = "".join(f"\n  {reason}" for reason in reasons) or " no provider is registered for it"
    is_away = any(isinstance(error, MachineError) for error in errors)
    has_moved = any(isinstance(error, MovedError) for error in errors)
    kind = SourceAwayError if is_away and not has_moved else SourceError
    raise kind(f"{source.name} (sha256 {source.sha256}) can't be had:{listed}", fix)


@contextlib.contextmanager
def _alone(source: Source, path: Path) -> Iterator[None]:
    """Hold the lock of the source; it is shared by a 256th of all sources and is never removed, so none is lost."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _logger.info("%s: waiting for another run that fetches it", source.name)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _check_md5(source: Source, blobs: BlobStore) -> None:
    found = hashlib.md5(blobs.read(source.sha256), usedforsecurity=False).hexdigest()
    if found != source.md5:
        raise SourceError(
            f"{source.name}: its sha256 is right, but the md5 should be {source.md5} and is {found}",
            "Correct md5sum, or take it out",
        )
