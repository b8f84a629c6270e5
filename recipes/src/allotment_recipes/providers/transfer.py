# SPDX-License-Identifier: Apache-2.0
"""Bytes over http into a file, on from where an earlier connection was lost, this one's or an earlier run's.

A redirect is followed at most five times, never from https to http and never to another scheme. A connection that
brings next to nothing for a minute, or whose headers do not end in time, is given up, so that another address gets its
turn.
"""

import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final

from allotment import __version__
from allotment.errors import AllotmentError, UnreachableError
from allotment_recipes.progress import Progress
from allotment_recipes.providers import watched_http

CHUNK: Final = 1 << 18  # bytes
ATTEMPTS: Final = 5  # connections that may be lost, each after it brought something, before a URL is given up
SLOWEST = 1000.0  # bytes a second, on average of PATIENCE
PATIENCE = 60.0  # seconds
_SCHEMES: Final = ("http", "https")


class TooLarge(AllotmentError):
    """More bytes than were asked for."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = 5

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        before, after = (urllib.parse.urlsplit(url).scheme for url in (req.full_url, newurl))
        if after not in _SCHEMES:
            raise AllotmentError(f"it leads to an address with '{after}:', which is not followed")
        if (before, after) == ("https", "http"):
            raise AllotmentError("it leads from https to http, which is not followed")
        fp.close()  # urllib would read all of it into memory, and there may be no end
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def opened(url: str, timeout: float, headers: dict[str, str] | None = None) -> Any:
    """Return the answer to a GET; ``timeout`` is in seconds without a byte, and for all before the body."""
    request = urllib.request.Request(url, headers={"User-Agent": f"allotment/{__version__}", **(headers or {})})
    kinds = (_Redirects, watched_http.Handler, watched_http.SecureHandler)
    return urllib.request.build_opener(*kinds).open(request, timeout=timeout)


def download(url: str, name: str, limit: int, partial: Path, timeout: float) -> bool:
    """Complete ``partial``; a lost connection is made anew as long as each brings something.

    Return whether it is put together from what came before and the rest.
    """
    for attempt in range(1, ATTEMPTS + 1):
        before = partial.stat().st_size if partial.exists() else 0
        try:
            return _transfer(url, name, limit, partial, timeout)
        except urllib.error.HTTPError as error:
            if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not before:
                raise
            partial.unlink()  # it is as long as the whole or longer, and not right
        except (OSError, http.client.HTTPException):
            if attempt == ATTEMPTS or not partial.exists() or partial.stat().st_size <= before:
                raise
    raise UnreachableError("the connection was lost again and again")


def _transfer(url: str, name: str, limit: int, partial: Path, timeout: float) -> bool:
    """Ask for what ``partial`` lacks; return whether that came, and not the whole."""
    headers = {"Accept-Encoding": "identity"}
    have = partial.stat().st_size if partial.exists() else 0
    if have:
        headers["Range"] = f"bytes={have}-"
    with opened(url, timeout, headers) as answer:
        if have and not _goes_on(answer, have):
            have = 0
        length = answer.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else 0
        if total > limit:
            raise TooLarge(f"it is larger than {limit} bytes")
        progress = Progress(name, total, have)
        try:
            with partial.open("ab" if have else "wb") as file:
                for chunk in limited(in_time(answer), limit, have):
                    file.write(chunk)
                    progress.add(len(chunk))
                size = file.tell()
        except TooLarge:
            partial.unlink()  # nothing of it is worth keeping
            raise
    if total and size < total:  # urllib takes an early end for the end
        raise http.client.IncompleteRead(b"", total - size)
    return have > 0


def _goes_on(answer: http.client.HTTPResponse, have: int) -> bool:
    """Say whether the answer is the rest that was asked for, and not the whole."""
    content_range = answer.headers.get("Content-Range", "")
    return answer.status == http.HTTPStatus.PARTIAL_CONTENT and content_range.startswith(f"bytes {have}-")


def in_time(answer: Any, clock: Callable[[], float] = time.monotonic) -> Iterator[bytes]:
    """Yield what comes as it comes; too little of it in a minute is an error."""
    began, size = clock(), 0
    while chunk := _read(answer):
        yield chunk
        size += len(chunk)
        if (now := clock()) - began >= PATIENCE:
            if size < SLOWEST * (now - began):
                raise UnreachableError(f"it brings less than {SLOWEST:.0f} bytes a second")
            began, size = now, 0


def _read(answer: Any) -> bytes:
    """Return what comes next; the lengths of chunks, and what follows the last one, may drip as well."""
    if not isinstance(answer, watched_http.WatchedResponse):  # a file of this machine
        data: bytes = answer.read(CHUNK)
        return data
    try:
        return answer.read_in_time(CHUNK, PATIENCE)
    except TimeoutError as error:
        if answer.watch is None or not answer.watch.is_late:  # silence is a lost connection, which may be made anew
            raise
        raise UnreachableError(f"it brings less than {SLOWEST:.0f} bytes a second") from error


def limited(chunks: Iterator[bytes], limit: int, size: int = 0) -> Iterator[bytes]:
    """Yield the chunks; more than ``limit`` bytes, ``size`` before them included, are an error."""
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"it is larger than {limit} bytes")
        yield chunk


def pieces(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield what a file holds."""
    return iter(lambda: stream.read(CHUNK), b"")
