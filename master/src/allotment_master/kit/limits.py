# SPDX-License-Identifier: Apache-2.0
"""What every request and answer passes through: size and time limits of bodies, host check, security headers."""

import asyncio
import ipaddress
from collections.abc import Callable
from http import HTTPStatus

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from allotment_master.kit.errors import HttpError, TooLargeError

BODY = 4 << 20  # bytes of a request's body, where the address has no limit of its own
SILENCE = 30.0  # seconds that may pass until the next bytes of a body
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class SlowBodyError(HttpError):
    """The caller stopped in the middle of its body."""

    status = HTTPStatus.REQUEST_TIMEOUT.value


class Limits:
    """Middleware: refuses bodies that are too large or too slow, adds the headers, answers only to known host names.

    ``limit_of`` gives the limit in bytes of one path, None for the usual one. ``allowed_host`` judges the Host header.
    """

    def __init__(
        self,
        app: ASGIApp,
        limit_of: Callable[[str], int | None] = lambda _: None,
        allowed_host: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._app = app
        self._limit_of = limit_of
        self._allowed_host = allowed_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        protected = _with_headers(send)
        if not self._allowed_host(headers.get("host", "")):
            # A page elsewhere whose name was made to point here must not read through the visitor's browser.
            await JSONResponse({"error": "this host name is not served here", "fix": "Use the address itself"}, 421)(
                scope, receive, protected
            )
            return
        limit = self._limit_of(scope["path"]) or BODY
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > limit:
            await _refuse(limit)(scope, receive, protected)
            return
        await self._app(scope, _counted(receive, limit), protected)


def is_local_name(host: str) -> bool:
    """Whether a Host header names this machine's loopback."""
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    if name in ("localhost", ""):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _refuse(limit: int) -> JSONResponse:
    return JSONResponse({"error": f"the body is larger than {limit} bytes", "fix": "Send less"}, 413)


def _counted(receive: Receive, limit: int) -> Receive:
    seen = 0
    complete = False

    async def counted() -> Message:
        nonlocal seen, complete
        if complete:  # what comes now is the disconnection, which may take as long as it likes
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), SILENCE)
        except TimeoutError:
            raise SlowBodyError(f"no bytes came for {SILENCE:.0f} s", "Send the body without pauses") from None
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if seen > limit:
                raise TooLargeError(f"the body is larger than {limit} bytes", "Send less")
        return message

    return counted


def _with_headers(send: Send) -> Send:
    async def protected(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return protected
