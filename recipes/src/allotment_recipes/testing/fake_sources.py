# SPDX-License-Identifier: Apache-2.0
"""Sources that a test makes: in the cache by their sha256, or behind a URL on this machine."""

import gzip
import hashlib
import io
import tarfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from allotment.blobs import BlobStore


@dataclass(frozen=True)
class FakeSource:
    """Where a source is said to be and what it must be."""

    url: str
    sha256: str
    md5: str


class FakeSources:
    """The source cache in ``folder``, and an HTTP server that is started with the first thing that is served."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []  # names that the server was asked for, in order
        self._served: dict[str, bytes] = {}
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def add(self, data: bytes, name: str = "source") -> FakeSource:
        """Put bytes into the cache; the URL leads nowhere, because nobody needs it."""
        BlobStore(self.folder).write([data])
        return _source(f"http://localhost:1/{name}", data)

    def serve(self, name: str, data: bytes) -> FakeSource:
        """Serve bytes under a URL that ends with ``name``; the cache does not have them."""
        self._served[f"/{name}"] = data
        return _source(f"http://127.0.0.1:{self._start()}/{name}", data)

    def close(self) -> None:
        """End the server; the fixture does it."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def _start(self) -> int:
        if self._server is None:
            served, asked = self._served, self.asked

            class Handler(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    asked.append(self.path.removeprefix("/"))
                    data = served.get(self.path)
                    self.send_response(200 if data is not None else 404)
                    self.send_header("Content-Length", str(len(data or b"")))
                    self.end_headers()
                    self.wfile.write(data or b"")

                def log_message(self, *arguments: Any) -> None:
                    """Say nothing: ``asked`` tells it."""

            self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
            self._thread.start()
        return int(self._server.server_address[1])


def archive(files: Mapping[str, str | bytes], name: str = "source-1.0") -> bytes:
    """Return a ``.tar.gz`` with ``files`` below the folder ``name``; text that starts with ``#!`` is executable."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, text in files.items():
            data = text.encode() if isinstance(text, str) else text
            member = tarfile.TarInfo(f"{name}/{path}")
            member.size = len(data)
            member.mode = 0o755 if data.startswith(b"#!") else 0o644
            tar.addfile(member, io.BytesIO(data))
    return gzip.compress(buffer.getvalue(), mtime=0)  # the same bytes at any time


def _source(url: str, data: bytes) -> FakeSource:
    return FakeSource(url, hashlib.sha256(data).hexdigest(), hashlib.md5(data, usedforsecurity=False).hexdigest())
