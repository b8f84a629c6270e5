# SPDX-License-Identifier: Apache-2.0
"""The source cache over HTTP, read-only and by hash: ``/<sha256>``, or ``/sha512/<sha512>`` for what npm locks pin.

What a name stands for never changes, so answers may be kept for ever; ranges are served, so downloads go on where they
were lost. Nothing is listed, and nothing is reached but blobs by their whole hash.
"""

import contextlib
import http.server
import ipaddress
import os
import re
import socket
import ssl
import threading
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from allotment import __version__
from allotment.blobs import BlobStore
from allotment.errors import AllotmentError

CONNECTIONS: Final = 64  # at the same time; more wait
TIMEOUT: Final = 60.0  # seconds for a client to take or to say something
_CHUNK: Final = 1 << 18  # bytes
_SHA256: Final = re.compile(r"/([0-9a-f]{64})")
_SHA512: Final = re.compile(r"/sha512/([0-9a-f]{128})")
_RANGE: Final = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")


class SourceServer(http.server.ThreadingHTTPServer):
    """Serves a folder of blobs; ``handle_error`` is quiet about clients that go away."""

    daemon_threads = True

    def __init__(self, folder: Path, host: str, port: int, certificate: Path | None, key: Path | None) -> None:
        if certificate is None and not _is_loopback(host):
            raise AllotmentError(
                f"{host} can be reached by others, and there is no certificate",
                "Give --certificate and --key, or listen at 127.0.0.1 behind a server that has one",
            )
        self.blobs = BlobStore(folder)
        self._room = threading.BoundedSemaphore(CONNECTIONS)
        self._context = _tls(certificate, key) if certificate is not None else None
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise AllotmentError(f"{host} port {port}: {error.strerror or error}", "Choose another") from error
        name = f"[{host}]" if ":" in host else host
        self.url = f"{'https' if self._context else 'http'}://{name}:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a thread, as soon as one of the earlier ones is done."""
        self._room.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection; the handshake is done here, so that nobody waits for a silent client."""
        try:
            request.settimeout(TIMEOUT)
            if self._context is not None:
                try:
                    request = self._context.wrap_socket(request, server_side=True)
                except OSError:
                    self.shutdown_request(request)
                    return
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: it went away."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: SourceServer
    protocol_version = "HTTP/1.1"
    server_version = f"allotment/{__version__}"
    sys_version = ""
    timeout = TIMEOUT  # without a byte

    def handle_one_request(self) -> None:
        """Let a client say what it wants within ``TIMEOUT``, also one that says it byte by byte."""
        self._patience = threading.Timer(TIMEOUT, self._give_up)
        self._patience.daemon = True
        self._patience.start()
        try:
            super().handle_one_request()
        finally:
            self._patience.cancel()

    def do_GET(self) -> None:
        """Answer with the blob, or with the part of it that is asked for."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer as to GET, without the bytes."""
        self._answer(with_body=False)

    def log_message(self, *_: Any) -> None:
        """Keep no log: a proxy in front may."""

    def _give_up(self) -> None:
        with contextlib.suppress(OSError):  # it has gone
            self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, *, with_body: bool) -> None:
        self._patience.cancel()
        sha256 = self._wanted()
        try:
            if sha256 is None:
                raise FileNotFoundError
            file = self.server.blobs.path(sha256).open("rb")
        except OSError:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        with file:
            size = os.fstat(file.fileno()).st_size
            if f'"{sha256}"' in self.headers.get("If-None-Match", ""):
                self._head(HTTPStatus.NOT_MODIFIED, sha256)
                return
            first, last = self._range(size, sha256)
            if first > last and first > 0:  # of no bytes at all the whole is sent
                self._head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, sha256, 0, f"bytes */{size}")
            elif last - first + 1 < size:
                self._head(HTTPStatus.PARTIAL_CONTENT, sha256, last - first + 1, f"bytes {first}-{last}/{size}")
            else:
                self._head(HTTPStatus.OK, sha256, size)
            file.seek(first)
            left = last - first + 1 if with_body else 0
            while left > 0 and (chunk := file.read(min(_CHUNK, left))):
                self.wfile.write(chunk)
                left -= len(chunk)
            if left > 0:  # it was cut under us: the client must not take it for the whole
                self.close_connection = True

    def _wanted(self) -> str | None:
        """Return the sha256 that is asked for, None for any other address."""
        path = self.path.partition("?")[0]
        if match := _SHA256.fullmatch(path):
            return match[1]
        if match := _SHA512.fullmatch(path):
            note = self.server.blobs.folder / ".sha512" / match[1]
            known = note.read_text().strip() if note.is_file() else ""
            return known if re.fullmatch("[0-9a-f]{64}", known) else None
        return None

    def _range(self, size: int, sha256: str) -> tuple[int, int]:
        """Return the first and the last byte to send; the first is behind the last when there are none."""
        match = _RANGE.fullmatch(self.headers.get("Range", "").replace(" ", ""))
        if match is None or match[0] == "bytes=-" or self.headers.get("If-Range", f'"{sha256}"') != f'"{sha256}"':
            return 0, size - 1
        if not match[1]:
            return (max(0, size - int(match[2])), size - 1) if int(match[2]) else (size, size - 1)
        last = min(int(match[2]), size - 1) if match[2] else size - 1
        if match[2] and int(match[2]) < int(match[1]):  # no range at all, by the standard
            return 0, size - 1
        return int(match[1]), last

    def _head(self, status: HTTPStatus, sha256: str, length: int | None = None, content_range: str = "") -> None:
        self.send_response(status)
        self.send_header("ETag", f'"{sha256}"')
        self.send_header("Cache-Control", "public, max-age=31536000, immutable")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("X-Content-Type-Options", "nosniff")
        if length is not None:
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(length))
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tls(certificate: Path, key: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise AllotmentError(f"{certificate} with its key can't be read: {error}", "Give two PEM files") from error
    return context
