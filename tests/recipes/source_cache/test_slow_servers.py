# SPDX-License-Identifier: Apache-2.0
"""Servers that always send a little more, and never end: whoever asks them goes on after a while."""

import contextlib
import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from allotment.blobs import BlobStore
from allotment.errors import UnreachableError
from allotment_recipes.binary_cache import http as cache_http
from allotment_recipes.binary_cache.caches import open_cache
from allotment_recipes.providers import python_source, source_server, transfer
from allotment_recipes.providers import url as url_provider
from allotment_recipes.sources import Source, SourceAwayError, fetch

DATA = b"source" * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()
OK = b"HTTP/1.1 200 OK\r\n"
BEGINNINGS = {  # what comes at once, and what then comes again and again
    "status": (b"", b"H"),
    "headers": (OK, b"X: y\r\n"),
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": (OK + b"Content-Length: 6000\r\n\r\n", b"s"),
    "length of a chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x"),
    "chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\ns\r\n"),
    "trailer": (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
    "body of a redirect": (b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 900000000\r\n\r\n", b"x"),
}


class Dripping:
    """A server that sends a beginning, and then the same few bytes every tenth of a second."""

    def __init__(self, beginning: bytes, drop: bytes) -> None:
        self._beginning, self._drop = beginning, drop
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._is_over = threading.Event()
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"http://{self.address}"
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._is_over.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # ends `accept`, which would go on with the next one of its number
        self._thread.join()
        self._listener.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(1 << 16)
            connection.sendall(self._beginning)
            while not self._is_over.wait(0.1):
                connection.sendall(self._drop)


@pytest.fixture
def drip() -> Iterator[Callable[[bytes, bytes], Dripping]]:
    running: list[Dripping] = []

    def start(beginning: bytes, drop: bytes) -> Dripping:
        running.append(Dripping(beginning, drop))
        return running[-1]

    yield start
    for server in running:
        server.close()


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(url_provider, "TIMEOUT", 0.5)
    monkeypatch.setattr(source_server, "_TIMEOUT", 0.5)
    monkeypatch.setattr(source_server, "_away", {})
    monkeypatch.setattr(python_source, "TIMEOUT", 0.5)
    monkeypatch.setattr(transfer, "PATIENCE", 0.5)
    for name in ("CONNECT", "STALL", "ANSWER"):
        monkeypatch.setattr(cache_http, name, 0.5)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.mark.parametrize("kind", BEGINNINGS)
def test_a_download_goes_on_with_the_next_address(
    kind: str, drip: Callable[[bytes, bytes], Dripping], tmp_path: Path
) -> None:
    (tmp_path / "right").write_bytes(DATA)
    blobs, server = BlobStore(tmp_path / "blobs"), drip(*BEGINNINGS[kind])
    began = time.monotonic()
    fetch(Source(SHA256, "x", (server.url, f"file://{tmp_path}/right")), blobs)
    assert blobs.read(SHA256) == DATA
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("kind", ["status", "headers", "body", "trailer"])
def test_a_source_server_is_left_for_the_sources_own_address(
    kind: str, drip: Callable[[bytes, bytes], Dripping], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "right").write_bytes(DATA)
    blobs = BlobStore(tmp_path / "blobs")
    monkeypatch.setenv(source_server.VARIABLE, drip(*BEGINNINGS[kind]).url)
    began = time.monotonic()
    fetch(Source(SHA256, "x", (f"file://{tmp_path}/right",)), blobs)
    assert blobs.read(SHA256) == DATA
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("kind", [kind for kind in BEGINNINGS if "redirect" not in kind])
def test_a_page_of_an_index_is_given_up(kind: str, drip: Callable[[bytes, bytes], Dripping]) -> None:
    began = time.monotonic()
    with pytest.raises(UnreachableError, match=r"^http://127.0.0.1:.*/x/: it "):
        list(python_source.files(drip(*BEGINNINGS[kind]).url, "x"))
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("kind", [kind for kind in BEGINNINGS if "redirect" not in kind])
def test_a_question_to_a_cache_is_given_up(kind: str, drip: Callable[[bytes, bytes], Dripping]) -> None:
    server = drip(*BEGINNINGS[kind])
    began = time.monotonic()
    with pytest.raises(UnreachableError, match=r"^it did not "):
        open_cache(server.url).entries(["part-1-00"])
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("kind", [kind for kind in BEGINNINGS if "redirect" not in kind])
def test_an_archive_of_a_cache_is_given_up(kind: str, drip: Callable[[bytes, bytes], Dripping]) -> None:
    server = drip(*BEGINNINGS[kind])
    began = time.monotonic()
    with pytest.raises(UnreachableError, match=r"^it "):
        list(open_cache(server.url).read("0" * 64))
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("kind", ["https", "proxy"])
def test_what_comes_before_the_question_has_a_limit_too(
    kind: str, drip: Callable[[bytes, bytes], Dripping], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record of TLS of 16 kB, or the answer of a proxy, a byte at a time."""
    server = drip(b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb", b"\0") if kind == "https" else drip(OK, b"X: y\r\n")
    address = server.address if kind == "https" else "127.0.0.2:1"
    if kind == "proxy":
        monkeypatch.setenv("https_proxy", server.url)
        monkeypatch.setenv("no_proxy", "")
    began = time.monotonic()
    with pytest.raises(SourceAwayError):
        fetch(Source(SHA256, "x", (f"https://{address}/x",)), BlobStore(tmp_path / "blobs"))
    with pytest.raises(UnreachableError, match="it did not answer in time"):
        open_cache(f"https://{address}").entries(["part-1-00"])
    assert time.monotonic() - began < 60


def test_the_time_that_a_reader_takes_is_not_the_servers(drip: Callable[[bytes, bytes], Dripping]) -> None:
    server = drip(OK + b"Content-Length: 1000\r\n\r\nss", b"s")
    with transfer.opened(server.url, 60.0) as answer:
        assert answer.read_in_time(1, 1.5) == b"s"
        time.sleep(2.5)  # as where it is written to a slow disk
        assert answer.read_in_time(1, 60.0) == b"s"


def test_a_cache_that_tells_no_length_has_not_the_archive(
    drip: Callable[[bytes, bytes], Dripping], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CONNECT", "STALL", "ANSWER"):
        monkeypatch.setattr(cache_http, name, 60.0)
    server = drip(OK + b"Content-Length: many\r\n\r\n", b"")
    assert open_cache(server.url).size("0" * 64) is None
