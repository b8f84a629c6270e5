# SPDX-License-Identifier: Apache-2.0
"""Pinned sources: what is wanted is a sha256, and whoever brings those bytes is believed."""

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError, MachineError
from allotment.hookspecs import SourceProvider
from allotment.plugins import load, plugins
from allotment_recipes.source_cache import notes

JOBS: Final = 4  # sources that are fetched at the same time
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MD5 = re.compile(r"[0-9a-f]{32}")
_DEBIAN = re.compile(r"([a-z0-9][a-z0-9.+-]+) ([0-9][A-Za-z0-9.+:~-]*) ([a-z][a-z-]*)")
_NPM = re.compile(r"(@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*@[0-9][A-Za-z0-9.+-]*")
_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})
_SDIST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_HINTS: Final = ("requirement", "debian", "npm", "sdist")  # fields of a source that a provider of its own reads
_logger = logging.getLogger("fetch")


class SourceError(AllotmentError):
    """No provider brought the bytes; the text lists each one's reason."""


class SourceAwayError(SourceError, MachineError):
    """As before, and the reason is not in what was asked for: a server is away, a program is missing."""


class DiskError(MachineError):
    """What is brought can't be written."""


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
    sdist: str = ""  # "name==version" of a source distribution in the Python index

    def __post_init__(self) -> None:
        self._check(_SHA256, self.sha256, "a sha256", "Give 64 hexadecimal digits, as sha256sum prints them")
        if self.md5:
            self._check(_MD5, self.md5, "an md5", "Give 32 hexadecimal digits, as md5sum prints them")
        if self.debian:
            self._check(_DEBIAN, self.debian, "'package version suite'", "Write it like: nginx 1.26.3-3 trixie")
        if self.npm:
            self._check(_NPM, self.npm, "'name@version'", "Write it like uplot@1.6.32")
        if self.sdist:
            self._check(_SDIST, self.sdist, "'name==version'", "Write it like waitress==3.0.2")

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
    notes.note(blobs, source.sha256, source.name)
    if source.md5:
        _check_md5(source, blobs)


def fetch_all(
    wanted: Iterable[Source], blobs: BlobStore, others: Iterable[Callable[[], object]] = (), jobs: int = JOBS
) -> None:
    """Bring several sources, and do ``others``, at the same time; one error lists all that can't be had."""
    by_hash: dict[str, list[Source]] = {}
    for source in wanted:
        by_hash.setdefault(source.sha256, []).append(source)
    with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="fetch") as pool:
        running: list[Future[Any]] = [pool.submit(_fetch_same, same, blobs) for same in by_hash.values()]
        running += [pool.submit(other) for other in others]
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


def _fetch_same(same: Sequence[Source], blobs: BlobStore) -> None:
    """Bring bytes for which there may be several sources: the hints of all are good, and each md5 must be right."""
    hints = {name: next(filter(None, (getattr(source, name) for source in same)), "") for name in _HINTS}
    urls = dict.fromkeys(url for source in same for url in source.urls)
    alternates = dict.fromkeys(url for source in same for url in source.alternates)
    limit = max(source.size_limit for source in same)
    fetch(replace(same[0], urls=(*urls,), alternates=(*alternates,), size_limit=limit, md5="", **hints), blobs)
    for source in same:
        if source.md5:
            _check_md5(source, blobs)


@contextlib.contextmanager
def writing(blobs: BlobStore) -> Iterator[None]:
    """Say of a disk that refuses bytes that it is not the source's fault: no other provider would do better."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK:
            raise
        place = error.filename or blobs.folder  # a file that is open already has no name in its errors
        raise DiskError(f"{place}: {os.strerror(error.errno)}", "Mend that and try again") from error


def _ask(source: Source, blobs: BlobStore, among: Iterable[SourceProvider]) -> None:
    errors: dict[str, AllotmentError] = {}  # by the provider's name
    for provider in among:
        began = time.monotonic()
        try:
            _let_bring(provider, source, blobs)
        except NotMine:
            continue
        except DiskError:
            raise
        except AllotmentError as error:
            errors[provider.name] = error
        else:
            if provider.order:
                _logger.info("%s: from the %s in %.1f s", source.name, provider.name, time.monotonic() - began)
            return
    listed = "".join(f"\n  {name}: {error.what}" for name, error in errors.items())
    moved = [error.fix for error in errors.values() if isinstance(error, MovedError)]
    is_away = any(isinstance(error, MachineError) for error in errors.values())
    raise (SourceAwayError if is_away and not moved else SourceError)(
        f"{source.name} (sha256 {source.sha256}) can't be had:{listed or ' no provider is registered for it'}",
        moved[-1] if moved else "Correct its address or checksum, or put the bytes into the source cache",
    )


def _let_bring(provider: SourceProvider, source: Source, blobs: BlobStore) -> None:
    """Let a provider bring the bytes; whatever goes wrong in it is its reason, and the next one is asked."""
    try:
        with writing(blobs):
            load(provider.target)(source, blobs)
    except AllotmentError:
        raise
    except Exception as error:  # somebody's plugin may fail in any way
        _logger.warning("%s: the provider %s failed", source.name, provider.name, exc_info=error)
        raise AllotmentError(f"{type(error).__name__}: {error}") from error
    if source.sha256 not in blobs:
        raise AllotmentError("brought nothing")


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
