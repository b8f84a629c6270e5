# SPDX-License-Identifier: Apache-2.0
"""What the wire needs of twisted.web: bodies that are bounded and only stored for who may send them, JSON answers."""

import hashlib
import hmac
import io
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from twisted.internet.defer import Deferred
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from allotment.errors import AllotmentError, RefusedError
from allotment.secret import Secret

LARGEST_BODY: Final = 1 << 30  # bytes; calls other than uploads set a lower limit of their own
_IN_MEMORY: Final = 1 << 20  # bytes of a body; more goes to a file
_EXCESS: Final = 1 << 20  # bytes beyond a limit that are read and dropped, so that the client can hear the answer
IDLE: Final = 120  # seconds that a connection may stay without a request


@dataclass(frozen=True)
class Answer:
    """What is sent back: ``body``, or the contents of an open ``file``."""

    status: int
    body: bytes = b""
    kind: str = "application/json"
    file: IO[bytes] | None = None


def refusal(status: int, error: AllotmentError) -> Answer:
    """Return an error as the wire writes it."""
    return Answer(status, json.dumps({"error": error.what, "fix": error.fix}).encode())


class WireSite(Site):
    """A site whose requests know the token and where large bodies go."""

    def __init__(self, resource: Resource, token: Secret, temporary: Path) -> None:
        super().__init__(resource, requestFactory=WireRequest, timeout=IDLE)
        self.temporary = temporary  # folder
        self.noisy = False
        self._token = _digest(token.reveal().encode())

    def is_token(self, header: bytes) -> bool:
        """Whether an ``Authorization`` header carries the token."""
        kind, _, value = header.partition(b" ")
        return kind.lower() == b"bearer" and hmac.compare_digest(_digest(value.strip()), self._token)

    def log(self, request: Any) -> None:
        """Write no access log: heartbeats would fill it."""


class WireRequest(Request):
    """A request that stores nothing of an unknown sender's body, and never more than the limit of a known one's."""

    channel: Any  # the connection; its site is the WireSite

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.is_known = False
        self.is_too_large = False
        self._received = 0
        self._body: IO[bytes] = io.BytesIO()
        self._problem: OSError | None = None  # why the body could not be stored

    def gotLength(self, length: int | None) -> None:
        """The headers are here and the body comes next."""
        site: WireSite = self.channel.site
        self.is_known = site.is_token(self.requestHeaders.getRawHeaders(b"authorization", [b""])[0])
        self.is_too_large = length is not None and length > LARGEST_BODY
        self._body = tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(site.temporary))  # noqa: SIM115  # closed with the request
        self.content = self._body

    def handleContentChunk(self, data: bytes) -> None:
        """Part of the body."""
        self._received += len(data)
        limit = LARGEST_BODY if self.is_known else 0
        if self._received > limit or self.is_too_large:
            self.is_too_large = True
            if self._received > limit + _EXCESS:
                self.loseConnection()
            return
        try:
            self._body.write(data)
        except OSError as error:  # the rest is read and dropped, so that the client can hear the answer
            self._problem = error

    @property
    def size(self) -> int:
        """How many bytes of the body came."""
        return self._received

    def body(self, limit: int) -> bytes:
        """Return the whole body; one of more than ``limit`` bytes is refused."""
        data = self.stream().read(limit + 1)
        if len(data) > limit:
            raise RefusedError(f"the body is larger than {limit} bytes", "Send less at a time", 413)
        return data

    def stream(self) -> IO[bytes]:
        """Return the body as a file, at its beginning; an OSError when it could not be stored."""
        if self._problem is not None:
            raise self._problem
        self._body.seek(0)
        return self._body

    def number(self, name: str) -> int:
        """Return a whole number of the query."""
        arguments: Mapping[bytes, list[bytes]] = self.args or {}
        text = arguments.get(name.encode(), [b""])[0]
        if not text.isdigit() or len(text) > 15:
            raise RefusedError(f"the query's {name} is no whole number", f"Write {name}=0 or more", 400)
        return int(text)


class Connections(WrappingFactory):
    """Wraps a site and knows its connections, so that they can be closed after the last answer has left."""

    noisy = False

    def __init__(self, site: WireSite) -> None:
        super().__init__(site)
        self._closed: Deferred[None] | None = None

    def close(self) -> Deferred[None]:
        """Close every connection once what was written to it is sent; fires when all are closed."""
        closed: Deferred[None] = Deferred()
        self._closed = closed
        for protocol in tuple(self.protocols):
            protocol.loseConnection()
        self._check()
        return closed

    def unregisterProtocol(self, p: ProtocolWrapper) -> None:
        """A connection is closed."""
        super().unregisterProtocol(p)
        self._check()

    def _check(self) -> None:
        if not self.protocols and self._closed is not None:
            closed, self._closed = self._closed, None
            closed.callback(None)


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()
