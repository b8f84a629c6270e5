# SPDX-License-Identifier: Apache-2.0
"""Connections on which nothing takes for ever.

The time limit of a socket is for each read: a server that sends a byte every few seconds would never be late. Here all
that comes before the body has one limit together, and whoever reads the body says how long a piece of it may take.
"""

import contextlib
import http.client
import math
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

_LOOK: Final = 1.0  # seconds between two looks at the time


class Watch:
    """Cuts a connection at a moment that may be put off."""

    def __init__(self, handle: socket.socket, seconds: float) -> None:
        self.is_late = False
        self._handle = handle.dup()  # the caller's may be closed, or become that of TLS, at any time
        self._is_over = threading.Event()
        self.allow(seconds)
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def allow(self, seconds: float) -> None:
        """Let what is waited for take so long from now on."""
        self._until = time.monotonic() + seconds

    def end(self) -> None:
        """Let the connection alone."""
        self._is_over.set()

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """Turn what a cut connection gives into `TimeoutError`."""
        try:
            yield
        except (OSError, ValueError, http.client.HTTPException) as error:
            if self.is_late:
                raise TimeoutError("it takes too long") from error
            raise
        if self.is_late:  # a cut body may look as if it had ended
            raise TimeoutError("it takes too long")

    def _run(self) -> None:
        with self._handle:
            while not self._is_over.wait(min(_LOOK, max(0.0, self._until - time.monotonic()))):
                if time.monotonic() >= self._until:
                    self.is_late = True
                    with contextlib.suppress(OSError):  # the other side has gone
                        self._handle.shutdown(socket.SHUT_RDWR)
                    return


class _Head:
    """What comes before a body: http.client takes its early end for its end."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def readline(self, limit: int) -> bytes:
        line = self.file.readline(limit)
        if not line:
            raise http.client.RemoteDisconnected("the connection was lost before the answer began")
        return line

    def close(self) -> None:
        self.file.close()


class WatchedResponse(http.client.HTTPResponse):
    """An answer that has begun in time."""

    fp: Any
    watch: Watch | None = None

    def begin(self) -> None:
        self.fp = head = _Head(self.fp)
        try:
            super().begin()
        finally:
            if self.fp is head:
                self.fp = head.file

    def read_in_time(self, size: int, seconds: float) -> bytes:
        """Return some of what comes, at most ``size`` bytes; none at the end. `TimeoutError` when it takes longer."""
        if self.watch is None:
            return self.read1(size)
        self.watch.allow(seconds)
        with self.watch.telling():
            data = self.read1(size)
            self.watch.allow(math.inf)  # what the reader does with it is not the server's time
            return data

    def close(self) -> None:
        super().close()
        if self.watch is not None:
            self.watch.end()


class WatchedConnection(http.client.HTTPConnection):
    """``limit`` is in seconds, from the connection to the end of the answer's headers; else as that of the socket."""

    response_class = WatchedResponse

    def __init__(self, *words: Any, limit: float | None = None, **more: Any) -> None:
        super().__init__(*words, **more)
        self.watch: Watch | None = None
        self._limit = limit
        self._create_connection = self._connected  # what http.client calls, before TLS and before a proxy's tunnel

    def connect(self) -> None:
        with self._telling():
            super().connect()

    def request(self, *words: Any, **more: Any) -> None:
        with self._telling():
            super().request(*words, **more)

    def getresponse(self) -> WatchedResponse:
        watch, self.watch = self.watch, None  # http.client may close the connection once the headers are there
        response = None
        try:
            with watch.telling() if watch is not None else contextlib.nullcontext():
                response = super().getresponse()
            assert isinstance(response, WatchedResponse)
            response.watch = watch
            return response
        except BaseException:
            if watch is not None:
                watch.end()
            raise

    def close(self) -> None:
        super().close()
        if self.watch is not None:
            self.watch.end()

    def _connected(self, address: Any, timeout: Any, source: Any) -> socket.socket:
        handle = socket.create_connection(address, timeout, source)
        self.watch = Watch(handle, timeout if self._limit is None else self._limit)
        return handle

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self.watch is not None and self.watch.is_late and not isinstance(error, TimeoutError):
                raise TimeoutError("it takes too long") from error
            raise


class WatchedSecureConnection(WatchedConnection, http.client.HTTPSConnection):
    """The same over TLS."""


class Handler(urllib.request.HTTPHandler):
    """Opens ``http:`` for urllib; the request's time limit is that of all before the body, too."""

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(WatchedConnection, req)


class SecureHandler(urllib.request.HTTPSHandler):
    """Opens ``https:`` likewise."""

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(WatchedSecureConnection, req)
