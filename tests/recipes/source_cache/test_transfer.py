# SPDX-License-Identifier: Apache-2.0
"""Downloads that are killed, redirected, slow, or refused for a while, against servers on this machine."""

import datetime
import hashlib
import http.server
import ipaddress
import os
import random
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from allotment.blobs import BlobStore
from allotment.errors import MachineError
from allotment.hookspecs import SourceProvider
from allotment_recipes.providers import transfer
from allotment_recipes.sources import Source, SourceError, fetch

BODY = random.Random(2).randbytes(4_000_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
URL = SourceProvider("url", 10, "allotment_recipes.providers.url:fetch")
FETCH = """
import sys
from pathlib import Path
from allotment.blobs import BlobStore
from allotment_recipes.sources import Source, fetch
fetch(Source(sys.argv[2], "big.tar", (sys.argv[1],)), BlobStore(Path(sys.argv[3])))
"""


class Handler(http.server.BaseHTTPRequestHandler):
    """/slow sends 40 kB at a time up to `most`, /drip nearly none, /busy is so twice, /cut ends, /to?URL leads on."""

    server: "Server"

    def do_GET(self) -> None:
        self.server.heard(self.path)
        self.server.asked.append(self.path)
        self.server.at_work.append(self)
        try:
            self._answer()
        finally:
            self.server.at_work.remove(self)

    def _answer(self) -> None:
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if self.path.startswith("/to?"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to?"))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path == "/cut":
            self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Le")
            return
        if self.path == "/busy" and self.server.asked.count("/busy") < 3:
            self.send_error(503)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
        self.send_header("Content-Length", str(len(BODY) - start))
        self.end_headers()
        step = {"/slow": 40_000, "/drip": 10}.get(self.path, len(BODY))
        for place in range(start, len(BODY), step):
            while place >= self.server.most:
                time.sleep(0.005)
            self.wfile.write(BODY[place : place + step])
            self.server.sent += len(BODY[place : place + step])
            if step < len(BODY):
                time.sleep(0.01)

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    """Counts what it was asked for and the bytes that it has sent."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.heard: Callable[[str], object] = lambda path: None  # called before an answer
        self.at_work: list[Handler] = []
        self.sent = 0
        self.most = len(BODY)
        scheme = "http"
        if context is not None:
            scheme, self.socket = "https", context.wrap_socket(self.socket, server_side=True)
        self.url = f"{scheme}://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that were killed."""


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    running: list[Server] = []

    def make(context: ssl.SSLContext | None = None) -> Server:
        running.append(Server(context))
        return running[-1]

    yield make
    for server in running:
        server.most = len(BODY)
        server.shutdown()
        server.server_close()


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def test_a_fetch_that_is_killed_goes_on_where_it_was(serve: Callable[..., Server], blobs: BlobStore) -> None:
    server = serve()
    command = [sys.executable, "-c", FETCH, f"{server.url}/slow", SHA256, str(blobs.folder)]
    partial = blobs.folder / f".partial-{SHA256}"
    kills = 0
    for least in (500_000, 1_500_000, 2_500_000):
        server.most = least + 200_000
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            while not partial.exists() or partial.stat().st_size < least:
                assert process.poll() is None
                time.sleep(0.005)
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        assert least <= partial.stat().st_size <= server.most + 40_000
    server.most = len(BODY)
    while server.at_work:  # until it has noticed
        time.sleep(0.005)
    before, have = server.sent, partial.stat().st_size
    subprocess.run(command, check=True, timeout=60)
    assert server.sent - before == len(BODY) - have, "only what was lacking came"
    assert blobs.read(SHA256) == BODY
    assert not partial.exists()
    assert kills == 3
    assert len(server.asked) == 4


def test_a_server_that_is_busy_is_asked_again(serve: Callable[..., Server], blobs: BlobStore) -> None:
    server = serve()
    fetch(Source(SHA256, "x", (f"{server.url}/busy",)), blobs, [URL])
    assert server.asked == ["/busy"] * 3


def test_headers_that_end_half_way_are_a_lost_connection(serve: Callable[..., Server], blobs: BlobStore) -> None:
    with pytest.raises(SourceError, match="/cut: it can't be read: the connection was lost before") as caught:
        fetch(Source(SHA256, "x", (f"{serve().url}/cut",)), blobs, [URL])
    assert isinstance(caught.value, MachineError)


def test_all_addresses_are_tried_before_one_is_tried_again(serve: Callable[..., Server], blobs: BlobStore) -> None:
    server = serve()
    fetch(Source(SHA256, "x", (f"{server.url}/busy", f"{server.url}/whole")), blobs, [URL])
    assert server.asked == ["/busy", "/whole"]


def test_one_that_brings_next_to_nothing_is_left_for_the_next(
    serve: Callable[..., Server], blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "SLOWEST", 50_000.0)
    server = serve()
    server.heard = lambda path: monkeypatch.setattr(transfer, "PATIENCE", 0.5 if path == "/drip" else 60.0)
    fetch(Source(SHA256, "x", (f"{server.url}/drip", f"{server.url}/whole")), blobs, [URL])
    assert server.asked == ["/drip", "/whole"]
    with pytest.raises(SourceError, match="/drip: it brings less than 50000 bytes a second") as caught:
        fetch(Source("0" * 64, "x", (f"{server.url}/drip",)), blobs, [URL])
    assert isinstance(caught.value, MachineError)


def test_a_redirect_is_followed_but_not_for_ever_and_not_to_a_file(
    serve: Callable[..., Server], blobs: BlobStore, tmp_path: Path
) -> None:
    server = serve()
    fetch(Source(SHA256, "x", (f"{server.url}/to?{server.url}/whole",)), blobs, [URL])
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    other = hashlib.sha256(b"secret").hexdigest()
    for place, problem in (
        (f"file://{secret}", "it leads to an address with 'file:', which is not followed|302 Found"),
        ("ftp://127.0.0.1/x", "it leads to an address with 'ftp:', which is not followed"),
    ):
        with pytest.raises(SourceError, match=problem):
            fetch(Source(other, "x", (f"{server.url}/to?{place}",)), blobs, [URL])
    circle = f"{server.url}/to?/circle"
    server.asked.clear()
    for _ in range(8):
        circle = f"{server.url}/to?{circle}"
    with pytest.raises(SourceError, match="302"):
        fetch(Source(other, "x", (circle,)), blobs, [URL])
    assert len(server.asked) <= 7


def test_a_redirect_from_https_to_http_is_refused(
    serve: Callable[..., Server], blobs: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, context = trusted(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    safe, plain = serve(context), serve()
    with pytest.raises(SourceError, match="it leads from https to http, which is not followed"):
        fetch(Source(SHA256, "x", (f"{safe.url}/to?{plain.url}/whole",)), blobs, [URL])
    assert plain.asked == []
    fetch(Source(SHA256, "x", (f"{plain.url}/to?{safe.url}/whole",)), blobs, [URL])


def test_what_is_said_to_be_too_large_is_not_taken(serve: Callable[..., Server], blobs: BlobStore) -> None:
    server = serve()
    server.most = 400_000  # whoever takes more waits in vain
    with pytest.raises(SourceError, match="it is larger than 1000 bytes"):
        fetch(Source(SHA256, "x", (f"{server.url}/slow",), size_limit=1000), blobs, [URL])


def test_a_beginning_that_nobody_has_gone_on_with_is_removed(serve: Callable[..., Server], blobs: BlobStore) -> None:
    blobs.folder.mkdir()
    old, new = blobs.folder / f".partial-{'1' * 64}", blobs.folder / f".partial-{'2' * 64}"
    for path in (old, new):
        path.write_bytes(b"begun")
    os.utime(old, (time.time() - 8 * 86400,) * 2)
    fetch(Source(SHA256, "x", (f"{serve().url}/whole",)), blobs, [URL])
    assert (old.exists(), new.exists()) == (False, True)


def trusted(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Make a certificate for 127.0.0.1; return its file and what serves with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, folder / "key.pem")
    return file, context
