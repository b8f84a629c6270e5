# SPDX-License-Identifier: Apache-2.0
"""A binary cache that ``allot cache serve`` keeps, over HTTP; one that is slow, or lies, costs little time."""

import contextlib
import http.client
import json
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from allotment import __version__
from allotment.codec import canonical, encode
from allotment.errors import AllotmentError, RefusedError, UnreachableError
from allotment.messages.binary_cache import SignedPackedPart
from allotment_recipes.binary_cache.caches import TooSlowError
from allotment_recipes.binary_cache.entry import LIMIT
from allotment_recipes.binary_cache.folder import PART
from allotment_recipes.providers.url import shown
from allotment_recipes.providers.watched_http import WatchedConnection, WatchedResponse, WatchedSecureConnection

API: Final = "/api/v1"
CONNECT: Final = 5.0  # seconds until there is a connection
STALL: Final = 10.0  # seconds without a byte
ANSWER: Final = 10.0  # seconds until an answer begins, and until a small one has ended
SLOWEST: Final = 20_000  # bytes a second of a download, on average
MOST_PARTS: Final = 200  # of one question
_CHUNK: Final = 1 << 18  # bytes
_PIECE: Final = 8 << 20  # bytes of one request of an upload
_BUSY: Final = 600.0  # seconds that another one's upload of the same part is waited for


class HttpCache:
    """The cache at a base URL. It follows no redirect: a cache answers itself."""

    def __init__(self, url: str, token: str = "") -> None:
        parts = urllib.parse.urlsplit(url)
        if not parts.hostname or parts.query or parts.fragment:
            raise AllotmentError(f"{url!r} is not the address of a binary cache", "Write it like https://host/folder")
        self.name = shown(url)
        self._parts = parts
        try:
            self._host, self._port = parts.hostname, parts.port
        except ValueError as error:
            raise AllotmentError(f"{url!r} has a wrong port: {error}", "Write it like https://host:8443") from error
        self._base = parts.path.rstrip("/")
        self._headers = {"User-Agent": f"allotment/{__version__}", "Host": parts.netloc.rpartition("@")[2]}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def entries(self, parts: Sequence[str]) -> Mapping[str, bytes]:
        found: dict[str, bytes] = {}
        for start in range(0, len(parts), MOST_PARTS):
            some = parts[start : start + MOST_PARTS]
            document = self._json("POST", f"{API}/lookup", {"parts": list(some)}, LIMIT * len(some) + 1024)
            answered = document.get("entries")
            if not isinstance(answered, dict):
                raise AllotmentError("it is no binary cache: it answers something else")
            found.update({part: _text(answered[part]) for part in some if part in answered})
        return found

    def names(self, after: str, limit: int) -> Sequence[str]:
        query = urllib.parse.urlencode({"after": after, "limit": limit})
        found = self._json("GET", f"{API}/entries?{query}", None, 300 * limit + 1024).get("parts")
        if not isinstance(found, list) or not all(isinstance(name, str) and PART.fullmatch(name) for name in found):
            raise AllotmentError("it is no binary cache: it answers something else")
        return found

    def size(self, sha256: str) -> int | None:
        with self._ask("HEAD", f"{API}/archives/{sha256}") as answer:
            if answer.status == http.HTTPStatus.NOT_FOUND:
                return None
            self._accept(answer, http.HTTPStatus.OK)
            length = answer.headers.get("Content-Length", "")
            return int(length) if re.fullmatch("[0-9]{1,15}", length) else None

    def read(self, sha256: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        headers = {} if not start and end is None else {"Range": f"bytes={start}-{'' if end is None else end - 1}"}
        with self._ask("GET", f"{API}/archives/{sha256}", headers=headers) as answer:
            self._accept(answer, http.HTTPStatus.PARTIAL_CONTENT if headers else http.HTTPStatus.OK)
            if headers and not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                raise AllotmentError("it sent another part of the archive than was asked for")
            began, size = time.monotonic(), 0
            while chunk := answer.read_in_time(_CHUNK, STALL):
                size += len(chunk)
                seconds = time.monotonic() - began
                if seconds > ANSWER and size < SLOWEST * seconds:
                    raise TooSlowError(f"it sent {size / seconds / 1000:.1f} kB a second")
                yield chunk
            if answer.length:
                raise UnreachableError("the connection was lost")

    def add(self, signed: SignedPackedPart, archive: Path, told: Callable[[int], None]) -> bool:
        blob, part = signed.packed.archive, signed.packed.part
        is_new, until = False, time.monotonic() + _BUSY
        while True:
            state = self._json("PUT", f"{API}/entries/{part}", encode(signed), LIMIT)
            offset = state.get("offset")
            if state.get("done") is True:
                told(blob.size)
                return is_new or state.get("new") is True
            if not isinstance(offset, int) or not 0 <= offset <= blob.size:
                raise AllotmentError("it is no binary cache: it answers something else")
            told(offset)
            if state.get("busy") is True:  # somebody uploads the same bytes just now
                if time.monotonic() > until:
                    raise UnreachableError("somebody else's upload of it does not end")
                time.sleep(0.2)
                continue
            is_new = True
            with archive.open("rb") as file:
                self._send(blob.sha256, file, offset, blob.size)

    def _send(self, sha256: str, file: IO[bytes], offset: int, size: int) -> None:
        file.seek(offset)
        data = file.read(_PIECE)
        headers = {"Content-Range": f"bytes {offset}-{offset + len(data) - 1}/{size}", "Content-Length": str(len(data))}
        with self._ask("PUT", f"{API}/uploads/{sha256}", data, headers, seconds=600.0) as answer:
            if answer.status == http.HTTPStatus.CONFLICT:
                return  # it has other bytes by now: asked for anew
            self._accept(answer, http.HTTPStatus.OK)

    def _json(self, method: str, path: str, body: Any, limit: int) -> dict[str, Any]:
        data = None if body is None else canonical(body)
        with self._ask(method, path, data, {"Content-Type": "application/json"} if data else {}) as answer:
            self._accept(answer, http.HTTPStatus.OK)
            text, until = b"", time.monotonic() + ANSWER
            while chunk := answer.read_in_time(_CHUNK, until - time.monotonic()):
                text += chunk
                if len(text) > limit:
                    raise AllotmentError(f"it answers more than {limit} bytes")
                if time.monotonic() > until:
                    raise UnreachableError(f"it did not end its answer within {ANSWER:.0f} s")
            if answer.length:
                raise UnreachableError("the connection was lost")
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise AllotmentError("it is no binary cache: it answers something else") from error
        if not isinstance(document, dict):
            raise AllotmentError("it is no binary cache: it answers something else")
        return document

    @contextlib.contextmanager
    def _ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None,
        seconds: float = 0.0,
    ) -> Iterator[WatchedResponse]:  # fmt: skip
        """Give the answer, which has begun in time: within ``seconds``, or else within ``ANSWER``."""
        connection, target = self._connection(self._base + path, seconds or ANSWER)
        answer = None
        try:
            connection.connect()
            connection.sock.settimeout(seconds or STALL)
            connection.request(method, target, body, {**self._headers, **(headers or {})})
            answer = connection.getresponse()
            yield answer
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, TimeoutError):
                raise UnreachableError("it did not answer in time") from error
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)  # of ssl first
            raise UnreachableError(f"it can't be reached: {reason}") from error
        finally:
            connection.close()
            if answer is not None:
                answer.close()

    def _connection(self, path: str, seconds: float) -> tuple[WatchedConnection, str]:
        """Return a connection that is not made yet, through the proxy that the environment names, and what to ask."""
        is_secure = self._parts.scheme == "https"
        kind = WatchedSecureConnection if is_secure else WatchedConnection
        proxy = urllib.request.getproxies().get(self._parts.scheme)
        if not proxy or urllib.request.proxy_bypass(self._host):
            return kind(self._host, self._port, timeout=CONNECT, limit=seconds), path
        address = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}")
        connection = kind(address.hostname or "", address.port, timeout=CONNECT, limit=seconds)
        if is_secure:
            connection.set_tunnel(self._host, self._port)
            return connection, path
        return connection, f"http://{self._headers['Host']}{path}"

    def _accept(self, answer: WatchedResponse, status: int) -> None:
        if answer.status == status:
            return
        if 300 <= answer.status < 400:
            raise AllotmentError(
                f"it sends to {answer.headers.get('Location', 'elsewhere')!r}, and a cache answers itself"
            )
        reason, fix = f"it answered {answer.status} {answer.reason}", ""
        with contextlib.suppress(ValueError, OSError, AttributeError, LookupError, TypeError):
            document = json.loads(answer.read_in_time(LIMIT, STALL))
            reason, fix = f"{reason}: {str(document['error'])[:500]}", str(document.get("fix", ""))[:500]
        if answer.status >= 500 or answer.status == http.HTTPStatus.TOO_MANY_REQUESTS:
            raise UnreachableError(reason, fix)
        raise RefusedError(reason, fix, answer.status)


def _text(found: Any) -> bytes:
    """Return what was answered of a part as JSON, which does not know all that Python reads as such."""
    try:
        return canonical(found)
    except (ValueError, RecursionError):
        return b""  # refused as what it is: no entry
