# SPDX-License-Identifier: Apache-2.0
"""Bytes that nothing pins yet: they are taken once, and pinned by the sha256 that they have then."""

import hashlib
import http.client
import urllib.error
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError
from allotment_recipes.progress import Progress
from allotment_recipes.providers import transfer

_LIMIT: Final = 2 << 30  # bytes of a source
_TIMEOUT: Final = 30.0  # seconds without a byte


def first_fetch(url: str, blobs: BlobStore, md5: str = "") -> str:
    """Return the sha256 of what a URL (http, https, file) brings now; with another MD5 nothing of it is kept."""
    try:
        if urllib.parse.urlsplit(url).scheme == "file":
            path = Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path))
            with path.open("rb") as file:
                return blobs.write(_with_md5(transfer.pieces(file), md5), limit=_LIMIT)
        with transfer.opened(url, _TIMEOUT) as answer:
            return blobs.write(_with_md5(_whole(answer, url), md5), limit=_LIMIT)
    except urllib.error.HTTPError as error:
        raise AllotmentError(f"the server answered {error.code} {error.reason}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:  # URLError and time-outs among them
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise AllotmentError(f"it can't be had: {reason}") from error


def _whole(answer: Any, url: str) -> Iterator[bytes]:
    """Yield what a server sends; urllib takes a lost connection for the end."""
    length = answer.headers.get("Content-Length", "")
    progress = Progress(urllib.parse.urlsplit(url).path.rpartition("/")[2], int(length) if length.isdigit() else 0)
    for chunk in transfer.in_time(answer):
        progress.add(len(chunk))
        yield chunk
    if getattr(answer, "length", None):  # of http: bytes that are still to come
        raise AllotmentError("the connection was lost")


def _with_md5(chunks: Iterator[bytes], md5: str) -> Iterator[bytes]:
    digest = hashlib.md5(usedforsecurity=False)
    for chunk in chunks:
        digest.update(chunk)
        yield chunk
    if md5 and digest.hexdigest() != md5:
        raise AllotmentError(f"its md5 is {digest.hexdigest()}, and the profile says {md5}")
