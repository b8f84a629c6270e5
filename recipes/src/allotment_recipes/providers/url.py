# SPDX-License-Identifier: Apache-2.0
"""Sources by URL (http, https, file) or by a file's path, with a time limit and a size limit."""

import http.client
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from allotment import __version__
from allotment.blobs import BlobStore
from allotment.errors import AllotmentError
from allotment_recipes.sources import NotMine, Source

TIMEOUT = 30.0  # seconds without a byte
CHUNK = 1 << 20  # bytes


def fetch(source: Source, blobs: BlobStore) -> None:
    """Try each of the source's URLs in turn."""
    if not source.urls:
        raise NotMine("it has no URL")
    reasons = []
    for url in source.urls:
        try:
            with tempfile.TemporaryFile() as file:
                _download(url, file, source.size_limit)
                file.seek(0)
                blobs.write(iter(lambda file=file: file.read(CHUNK), b""), source.sha256)  # type: ignore[misc]
            return
        except AllotmentError as error:
            reasons.append(f"{shown(url)}: {error.what}")
    raise AllotmentError("; ".join(reasons))


def shown(url: str) -> str:
    """Return ``url`` without the password that it may hold."""
    parts = urllib.parse.urlsplit(url)
    if "@" in parts.netloc:
        parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return parts.geturl()


def _download(url: str, target: IO[bytes], limit: int) -> None:
    try:
        for chunk in _chunks(url, limit):
            target.write(chunk)
    except urllib.error.HTTPError as error:
        raise AllotmentError(f"the server answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        reason = getattr(error.reason, "strerror", None) or error.reason
        raise AllotmentError(f"it can't be reached: {reason}") from error
    except TimeoutError as error:
        raise AllotmentError(f"no answer within {TIMEOUT:.0f} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise AllotmentError(f"it can't be read: {getattr(error, 'strerror', None) or error}") from error


def _chunks(url: str, limit: int) -> Iterator[bytes]:
    with _open(url) as stream:
        size = 0
        while chunk := stream.read(CHUNK):
            size += len(chunk)
            if size > limit:
                raise AllotmentError(f"it is larger than {limit} bytes")
            yield chunk


def _open(url: str) -> IO[bytes]:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme in ("", "file"):
        return Path(urllib.parse.unquote(parts.path) if parts.scheme else url).open("rb")
    if parts.scheme not in ("http", "https"):
        raise AllotmentError(f"the scheme '{parts.scheme}' is not read; write http, https or file")
    request = urllib.request.Request(url, headers={"User-Agent": f"allotment/{__version__}"})
    answer: IO[bytes] = urllib.request.urlopen(request, timeout=TIMEOUT)
    return answer
