# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the tests of promise types: measure once as a promise of a partition would."""

import http.server
import importlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from allotment.options import parse_options
from allotment_promises import GenericPromise, Measurement


@pytest.fixture
def make_promise(tmp_path: Path) -> Callable[..., GenericPromise[Any]]:
    """Make a promise of a type from its options; its partition is the folder of the test."""

    def make(type: str, /, **options: Any) -> GenericPromise[Any]:
        module = importlib.import_module(f"allotment_promises.types.{type}")
        cls = getattr(module, "".join(map(str.capitalize, type.split("_"))))
        raw = {name.replace("_", "-"): value for name, value in options.items()}
        made: GenericPromise[Any] = cls(parse_options(module.Options, raw), tmp_path, "name")
        made.target()  # is asked for before anything is measured
        return made

    return make


@pytest.fixture
def measure(make_promise: Callable[..., GenericPromise[Any]]) -> Callable[..., Measurement]:
    """Measure once with a promise type: ``measure("check_file_state", filename="x")``."""

    def run(type: str, /, **options: Any) -> Measurement:
        measured = make_promise(type, **options).sense()
        assert isinstance(measured, Measurement)
        return measured

    return run


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority that no system trusts."""
    return trustme.CA()


@pytest.fixture
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    """A server with a certificate of 127.0.0.1, signed by the authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    """The authority's certificate."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with what the test gave for the path: code, headers and body, or a function of the request."""

    pages: dict[str, Any]

    def do_GET(self) -> None:
        page = self.pages.get(self.path, (404, {}, b""))
        code, headers, body = page(self) if callable(page) else page
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Serve pages over HTTP, or HTTPS with a context; returns the URL."""
    stops: list[Callable[[], None]] = []

    def start(pages: dict[str, Any], context: ssl.SSLContext | None = None) -> str:
        handler = type("Pages", (Handler,), {"pages": pages})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        stops.extend((server.server_close, lambda: thread.join(10), server.shutdown))
        return f"{'https' if context else 'http'}://127.0.0.1:{server.server_address[1]}"

    yield start
    for stop in reversed(stops):
        stop()
