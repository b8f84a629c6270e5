# SPDX-License-Identifier: Apache-2.0
"""Answers as bytes: made once while nothing changes, compressed once, and sent as 304 to who has them."""

import asyncio
import gzip
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from anyio import to_thread
from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOVING = 2.0  # seconds that a list or a page is kept while something on it runs
STILL = 10.0  # and while nothing does
_STATE = "keep"  # in the request's state: how long its answer may be kept
_WORTH_COMPRESSING = 1400  # bytes: less fits one packet anyway
_MEMORY = 16_000_000  # bytes of all answers that are kept at a time, with their addresses
_PLACE = 1000  # bytes that a kept answer takes besides: its headers, its lock
_LONGEST_ADDRESS = 1000  # characters; what has a longer one is made anew each time


def keep(request: Request, seconds: float) -> None:
    """Let this request's answer be given to others too, until something happens, ``seconds`` at most.

    The limit is for what is no event: how a test node is, how far a step is. It also ends what equal versions can
    hide on PostgreSQL, where a transaction may commit after another that took a later id.
    """
    request.scope.setdefault("state", {})[_STATE] = seconds


class Version:
    """The newest event's id, asked once for all who ask at the same time.

    Who asks while an answer is under way waits for the next one: what was committed before is always seen.
    """

    def __init__(self, read: Callable[[], int]) -> None:
        self._read = read  # in a thread
        self._running: asyncio.Task[int] | None = None
        self._next: asyncio.Task[int] | None = None

    async def __call__(self) -> int:
        if self._running is None or self._running.done():
            task = self._running = asyncio.create_task(self._ask(None))
        elif self._next is None:
            task = self._next = asyncio.create_task(self._ask(self._running))
        else:
            task = self._next
        return await asyncio.shield(task)

    async def _ask(self, before: "asyncio.Task[int] | None") -> int:
        if before is not None:
            await asyncio.wait([before])
            self._running, self._next = self._next, None
        return await to_thread.run_sync(self._read)


@dataclass(frozen=True)
class _Answer:
    """A whole answer; it is good for this version, ``until`` then."""

    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    compressed: bytes | None
    tag: str
    version: int
    until: float

    @property
    def size(self) -> int:
        """How much memory it takes."""
        return len(self.body) + len(self.compressed or b"")

    async def send(self, headers: Headers, send: Send) -> None:
        """Send what this caller wants of it: nothing, if it has it."""
        sent = [*self.headers, (b"vary", b"Accept-Encoding")]
        if _has(headers, self.tag):
            await send({"type": "http.response.start", "status": 304, "headers": sent})
            await send({"type": "http.response.body", "body": b""})
            return
        body = self.body
        if self.compressed is not None and _accepts_gzip(headers):
            body = self.compressed
            sent.append((b"content-encoding", b"gzip"))
        sent.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": 200, "headers": sent})
        await send({"type": "http.response.body", "body": body})


@dataclass
class _Place:
    """Where the answer to one address is kept; whoever finds it too old makes it anew while the others wait."""

    answer: _Answer | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Kept:
    """Middleware: compresses answers that have an ETag, and keeps those whose handlers called :func:`keep`."""

    def __init__(
        self, app: ASGIApp, version: Callable[[], Awaitable[int]], clock: Callable[[], float], past: str
    ) -> None:
        """What is at addresses that begin with ``past`` goes through as it is."""
        self._app = app
        self._past = past
        self._version = version
        self._clock = clock
        self._places: OrderedDict[str, _Place] = OrderedDict()
        self._first: dict[str, asyncio.Event] = {}  # of addresses that are asked for the first time
        self._size = 0  # bytes of all that is kept

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"].startswith(self._past):
            await self._app(scope, receive, send)
            return
        address = f"{scope['path']}?{scope['query_string'].decode('latin-1')}"
        if (first := self._first.get(address)) is not None:
            await first.wait()
        place = self._places.get(address)
        if place is None:  # whether the answer is to be kept, only its handler knows
            answer = await self._make_first(scope, receive, send, address)
        else:
            answer = await self._kept(place, address, scope, receive, send)
        if answer is not None:
            await answer.send(Headers(scope=scope), send)

    async def _make_first(self, scope: Scope, receive: Receive, send: Send, address: str) -> _Answer | None:
        """Let others wait until the answer is kept, or is known not to be: a log that is followed goes on for long."""
        known = self._first[address] = asyncio.Event()
        try:
            return await self._make(scope, receive, send, address, known)
        finally:
            known.set()
            if self._first.get(address) is known:
                del self._first[address]

    async def _kept(self, place: _Place, address: str, scope: Scope, receive: Receive, send: Send) -> _Answer | None:
        version = await self._version()
        if not self._is_good(place.answer, version):
            async with place.lock:
                if not self._is_good(place.answer, version):
                    return await self._make(scope, receive, send, address)
        return place.answer

    def _is_good(self, answer: _Answer | None, version: int) -> bool:
        return answer is not None and answer.version >= version and self._clock() < answer.until

    async def _make(
        self, scope: Scope, receive: Receive, send: Send, address: str, known: asyncio.Event | None = None
    ) -> _Answer | None:
        """Let the application answer: return that if it is whole and has a tag, else it has been sent."""
        version = await self._version()  # before the handler reads: what comes later makes it old
        whole = [item for item in scope["headers"] if item[0] != b"if-none-match"]
        inner = {**scope, "headers": whole, "state": {**scope.get("state", {})}}
        caught = _Caught(send, known)
        await self._app(inner, receive, caught)
        if caught.start is None:
            self._forget(address)
            return None
        seconds = inner["state"].get(_STATE)
        until = 0.0 if seconds is None else self._clock() + seconds
        answer = await to_thread.run_sync(caught.answer, version, until)
        if seconds is not None and len(address) <= _LONGEST_ADDRESS:
            self._keep(address, answer)
        return answer

    def _keep(self, address: str, answer: _Answer) -> None:
        if (place := self._places.get(address)) is None:
            place = self._places[address] = _Place()
            self._size += _PLACE + len(address)
        self._size += answer.size - (place.answer.size if place.answer else 0)
        place.answer = answer
        self._places.move_to_end(address)
        while self._size > _MEMORY:
            self._forget(next(iter(self._places)))

    def _forget(self, address: str) -> None:
        place = self._places.pop(address, None)
        if place is not None and place.answer is not None:
            self._size -= _PLACE + len(address) + place.answer.size


class _Caught:
    """A ``send`` that holds back a whole answer with an ETag, and lets through any other, which sets ``passed``."""

    def __init__(self, send: Send, passed: asyncio.Event | None) -> None:
        self.start: Message | None = None
        self._send = send
        self._passed = passed
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if message["status"] == 200 and "etag" in Headers(raw=message["headers"]):
                self.start = message
                return
            if self._passed is not None:
                self._passed.set()
        elif self.start is not None:
            self._body += message.get("body", b"")
            return
        await self._send(message)

    def answer(self, version: int, until: float) -> _Answer:
        """Return what was caught; compresses, so call it in a thread."""
        assert self.start is not None  # the caller looked
        headers = tuple(item for item in self.start["headers"] if item[0] not in (b"content-length", b"vary"))
        tag = Headers(raw=list(headers))["etag"]
        # mtime 0: equal pages are equal bytes. Level 1 is most of the gain for a fifth of the time.
        is_large = len(self._body) > _WORTH_COMPRESSING
        compressed = gzip.compress(self._body, 1, mtime=0) if is_large else None
        return _Answer(headers, self._body, compressed, tag, version, until)


def _has(headers: Headers, tag: str) -> bool:
    known = [item.strip().removeprefix("W/") for item in headers.get("if-none-match", "").split(",")]
    return tag in known or "*" in known


def _accepts_gzip(headers: Headers) -> bool:
    for item in headers.get("accept-encoding", "").split(","):
        coding, _, quality = item.partition(";")
        if coding.strip().lower() == "gzip":
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
