# SPDX-License-Identifier: Apache-2.0
"""Sources by URL (http, https, file) or by a file's path, with a time limit and a size limit.

What came over http before a connection was lost is kept beside the blobs, and the next attempt, of this run or of a
later one, asks for the rest only. Addresses that can't be reached are tried again after all others.
"""

import hashlib
import http.client
import re
import time
import urllib.error
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError, UnreachableError
from allotment_recipes.providers import transfer
from allotment_recipes.sources import DiskError, NotMine, Source, writing

TIMEOUT = 30.0  # seconds without a byte
_ABANDONED: Final = 7 * 86400.0  # seconds without another byte
PAUSES = (0.5, 2.0)  # seconds before addresses that can't be reached are tried again


def fetch(source: Source, blobs: BlobStore) -> None:
    """Try each of the source's URLs in turn, then its alternates."""
    urls = (*source.urls, *source.alternates)
    if not urls:
        raise NotMine("it has no URL")
    reasons = dict.fromkeys(dict.fromkeys(urls), AllotmentError(""))  # each address once, in order
    left, began = [*reasons], time.monotonic()
    for pause in (*PAUSES, None):
        for url in left:
            try:
                bring(url, source, blobs)
                return
            except DiskError:
                raise
            except AllotmentError as error:
                reasons[url] = error
        left = [url for url in left if isinstance(reasons[url], UnreachableError)]
        if not left or pause is None or time.monotonic() - began > TIMEOUT:
            break
        time.sleep(pause)
    kind = UnreachableError if left else AllotmentError
    raise kind("; ".join(f"{shown(url)}: {error.what}" for url, error in reasons.items()))


def shown(url: str) -> str:
    """Return ``url`` without the password that it may hold; it need not be a right one."""
    return re.sub(r"//[^/?#]*@", "//", url, count=1)


def download(url: str, source: Source, path: Path, timeout: float = 0.0) -> None:
    """Bring what is at a URL (http or https) to ``path``; whoever calls checks the bytes."""
    with _telling(timeout or TIMEOUT):
        _complete(url, source, path, timeout or TIMEOUT)


def bring(url: str, source: Source, blobs: BlobStore, timeout: float = 0.0) -> None:
    """Bring what is at one URL, verified; without a ``timeout`` in seconds it is the usual one."""
    with _telling(timeout or TIMEOUT), writing(blobs):
        _bring(url, source, blobs, timeout or TIMEOUT)


@contextmanager
def _telling(timeout: float) -> Iterator[None]:
    """Turn what the libraries say of a failure into one kind of error."""
    try:
        yield
    except urllib.error.HTTPError as error:
        kind = UnreachableError if error.code >= 500 or error.code == 429 else AllotmentError
        raise kind(f"the server answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        reason = getattr(error.reason, "strerror", None) or error.reason
        raise UnreachableError(f"it can't be reached: {reason}") from error
    except TimeoutError as error:
        raise UnreachableError(f"no answer within {timeout:.0f} s") from error
    except (ValueError, http.client.InvalidURL) as error:
        raise AllotmentError(f"it is no address: {error}") from error
    except (OSError, http.client.HTTPException) as error:
        kind = UnreachableError if isinstance(error, ConnectionError | http.client.HTTPException) else AllotmentError
        raise kind(f"it can't be read: {getattr(error, 'strerror', None) or error}") from error


def _bring(url: str, source: Source, blobs: BlobStore, timeout: float) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme in ("", "file"):
        path = Path(urllib.parse.unquote(parts.path) if parts.scheme else url)
        with path.open("rb") as stream:
            blobs.write(transfer.limited(transfer.pieces(stream), source.size_limit), source.sha256)
    elif parts.scheme in ("http", "https"):
        _bring_by_http(url, source, blobs, timeout)
    else:
        raise AllotmentError(f"the scheme '{parts.scheme}' is not read; write http, https or file")


def _bring_by_http(url: str, source: Source, blobs: BlobStore, timeout: float) -> None:
    blobs.folder.mkdir(parents=True, exist_ok=True)
    _sweep(blobs.folder)
    partial = blobs.folder / f".partial-{source.sha256}"
    is_right = partial.exists() and _sha256(partial) == source.sha256  # a run was killed when it had all
    if not is_right and _complete(url, source, partial, timeout) and _sha256(partial) != source.sha256:
        partial.unlink()
        _complete(url, source, partial, timeout)  # its pieces may be of two files: once more, from nothing
    try:
        blobs.add(partial, source.sha256)
    except AllotmentError:
        partial.unlink()
        raise
    partial.unlink()


def _sweep(folder: Path) -> None:
    """Remove what nobody has gone on with for a week."""
    for path in folder.glob(".partial-*"):
        with suppress(FileNotFoundError):  # its fetch has ended just now
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink()


def _complete(url: str, source: Source, partial: Path, timeout: float) -> bool:
    """Return whether ``partial`` was put together from pieces of several answers."""
    return transfer.download(url, source.name, source.size_limit, partial, timeout)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
