# SPDX-License-Identifier: Apache-2.0
"""Sources by URL (http, https, file) or by a file's path, with a time limit and a size limit.

What came over http before a connection was lost is kept beside the blobs, and the next attempt, of this run or of a
later one, asks for the rest only.
"""

import hashlib
import http.client
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from allotment import __version__
from allotment.blobs import BlobStore
from allotment.errors import AllotmentError, UnreachableError
from allotment_recipes.progress import Progress
from allotment_recipes.sources import DiskError, NotMine, Source, writing

TIMEOUT = 30.0  # seconds without a byte
CHUNK: Final = 1 << 18  # bytes
ATTEMPTS: Final = 5  # connections that may be lost, each after it brought something, before a URL is given up


def fetch(source: Source, blobs: BlobStore) -> None:
    """Try each of the source's URLs in turn, then its alternates."""
    urls = (*source.urls, *source.alternates)
    if not urls:
        raise NotMine("it has no URL")
    reasons = []
    kind: type[AllotmentError] = AllotmentError
    for url in urls:
        try:
            _fetch(url, source, blobs)
            return
        except DiskError:
            raise
        except AllotmentError as error:
            reasons.append(f"{shown(url)}: {error.what}")
            kind = UnreachableError if isinstance(error, UnreachableError) else kind
    raise kind("; ".join(reasons))


def shown(url: str) -> str:
    """Return ``url`` without the password that it may hold; it need not be a right one."""
    return re.sub(r"//[^/?#]*@", "//", url, count=1)


def download(url: str, source: Source, path: Path) -> None:
    """Bring what is at a URL (http or https) to ``path``; whoever calls checks the bytes."""
    with _telling():
        _download(url, source, path)


def _fetch(url: str, source: Source, blobs: BlobStore) -> None:
    with _telling(), writing(blobs):
        _bring(url, source, blobs)


@contextmanager
def _telling() -> Iterator[None]:
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
        raise UnreachableError(f"no answer within {TIMEOUT:.0f} s") from error
    except (ValueError, http.client.InvalidURL) as error:
        raise AllotmentError(f"it is no address: {error}") from error
    except (OSError, http.client.HTTPException) as error:
        kind = UnreachableError if isinstance(error, ConnectionError | http.client.HTTPException) else AllotmentError
        raise kind(f"it can't be read: {getattr(error, 'strerror', None) or error}") from error


def _bring(url: str, source: Source, blobs: BlobStore) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme in ("", "file"):
        path = Path(urllib.parse.unquote(parts.path) if parts.scheme else url)
        with path.open("rb") as stream:
            blobs.write(_limited(stream, source.size_limit), source.sha256)
    elif parts.scheme in ("http", "https"):
        _bring_by_http(url, source, blobs)
    else:
        raise AllotmentError(f"the scheme '{parts.scheme}' is not read; write http, https or file")


def _bring_by_http(url: str, source: Source, blobs: BlobStore) -> None:
    blobs.folder.mkdir(parents=True, exist_ok=True)
    partial = blobs.folder / f".partial-{source.sha256}"
    is_right = partial.exists() and _sha256(partial) == source.sha256  # a run was killed when it had all
    if not is_right and _download(url, source, partial) and _sha256(partial) != source.sha256:
        partial.unlink()
        _download(url, source, partial)  # its pieces may be of two files, or from two URLs: once more, from nothing
    try:
        blobs.add(partial, source.sha256)
    except AllotmentError:
        partial.unlink()
        raise
    partial.unlink()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(url: str, source: Source, partial: Path) -> bool:
    """Complete ``partial``; a lost connection is made anew as long as each brings something.

    Return whether it is put together from what came before and the rest.
    """
    for attempt in range(1, ATTEMPTS + 1):
        before = partial.stat().st_size if partial.exists() else 0
        try:
            return _transfer(url, source, partial)
        except urllib.error.HTTPError as error:
            if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not before:
                raise
            partial.unlink()  # it is as long as the whole or longer, and not right
        except (OSError, http.client.HTTPException):
            if attempt == ATTEMPTS or not partial.exists() or partial.stat().st_size <= before:
                raise
    raise UnreachableError("the connection was lost again and again")


def _transfer(url: str, source: Source, partial: Path) -> bool:
    """Ask for what ``partial`` lacks; return whether that came, and not the whole."""
    headers = {"User-Agent": f"allotment/{__version__}", "Accept-Encoding": "identity"}
    have = partial.stat().st_size if partial.exists() else 0
    if have:
        headers["Range"] = f"bytes={have}-"
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
        if have and not _goes_on(answer, have):
            have = 0
        length = answer.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else 0
        progress = Progress(source.name, total, have)
        try:
            with partial.open("ab" if have else "wb") as file:
                for chunk in _limited(answer, source.size_limit, have):
                    file.write(chunk)
                    progress.add(len(chunk))
                size = file.tell()
        except AllotmentError:
            partial.unlink()  # too large: nothing of it is worth keeping
            raise
    if total and size < total:  # urllib takes an early end for the end
        raise http.client.IncompleteRead(b"", total - size)
    return have > 0


def _goes_on(answer: http.client.HTTPResponse, have: int) -> bool:
    """Say whether the answer is the rest that was asked for, and not the whole."""
    content_range = answer.headers.get("Content-Range", "")
    return answer.status == http.HTTPStatus.PARTIAL_CONTENT and content_range.startswith(f"bytes {have}-")


def _limited(stream: IO[bytes] | http.client.HTTPResponse, limit: int, size: int = 0) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        size += len(chunk)
        if size > limit:
            raise AllotmentError(f"it is larger than {limit} bytes")
        yield chunk
