# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""Downloads by http that are lost halfway, and several at the same time, against a server of ours."""

import hashlib
import http.server
import logging
import random
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError
from allotment.hookspecs import SourceProvider
from allotment_recipes import progress
from allotment_recipes.sources import Source, SourceError, fetch, fetch_all

BODY = random.Random(1).randbytes(1_000_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
URL = SourceProvider("url", 10, "allotment_recipes.providers.url:fetch")


class Server(http.server.ThreadingHTTPServer):
    """Serves BODY; a path says how: /lossy ends after 300 kB of each answer, /whole knows no ranges.

    /changed was another file when its first answer was cut.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str]] = []  # path and range
        self.together = threading.Barrier(2, timeout=60)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.server.asked.append((self.path, asked))
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.path != "/whole" else 0
        if self.path.startswith("/together"):
            self.server.together.wait()
        if start >= len(BODY):
            self.send_error(416)
            return
        is_old = self.path == "/changed" and len(self.server.asked) == 1
        rest = bytes(len(BODY)) if is_old else BODY[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[:300_000] if self.path == "/lossy" or is_old else rest)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def partial(blobs: BlobStore) -> Path:
    return blobs.folder / f".partial-{SHA256}"


def test_a_lost_connection_is_made_anew_for_the_rest(server: Server, blobs: BlobStore) -> None:
    fetch(Source(SHA256, "x", (f"{server.url}/lossy",)), blobs)
    assert blobs.read(SHA256) == BODY
    assert [asked for _, asked in server.asked] == ["", "bytes=300000-", "bytes=600000-", "bytes=900000-"]
    assert not partial(blobs).exists()


def test_a_later_run_goes_on_where_an_earlier_one_ended(server: Server, blobs: BlobStore) -> None:
    blobs.folder.mkdir()
    partial(blobs).write_bytes(BODY[:700_000])
    fetch(Source(SHA256, "x", (f"{server.url}/x",)), blobs)
    assert blobs.read(SHA256) == BODY
    assert server.asked == [("/x", "bytes=700000-")]


@pytest.mark.parametrize("length", [700_000, 1_000_000, 1_200_000])
def test_a_wrong_beginning_is_thrown_away(server: Server, blobs: BlobStore, length: int) -> None:
    blobs.folder.mkdir()
    partial(blobs).write_bytes(bytes(length))
    fetch(Source(SHA256, "x", (f"{server.url}/x",)), blobs)
    assert blobs.read(SHA256) == BODY


def test_a_file_that_changed_while_it_was_resumed_is_asked_for_anew(server: Server, blobs: BlobStore) -> None:
    fetch(Source(SHA256, "x", (f"{server.url}/changed",)), blobs)
    assert blobs.read(SHA256) == BODY
    assert [asked for _, asked in server.asked] == ["", "bytes=300000-", ""]


def test_what_was_whole_when_a_run_was_killed_is_not_asked_for(server: Server, blobs: BlobStore) -> None:
    blobs.folder.mkdir()
    partial(blobs).write_bytes(BODY)
    fetch(Source(SHA256, "x", (f"{server.url}/x",)), blobs)
    assert blobs.read(SHA256) == BODY
    assert server.asked == []
    assert not partial(blobs).exists()


def test_a_server_without_ranges_is_asked_for_all(server: Server, blobs: BlobStore) -> None:
    blobs.folder.mkdir()
    partial(blobs).write_bytes(BODY[:1000])
    fetch(Source(SHA256, "x", (f"{server.url}/whole",)), blobs)
    assert blobs.read(SHA256) == BODY


def test_other_bytes_are_asked_for_once_and_not_kept(server: Server, blobs: BlobStore) -> None:
    other = "0" * 64
    with pytest.raises(SourceError, match=f"the sha256 should be {other} but is {SHA256}"):
        fetch(Source(other, "x", (f"{server.url}/x",)), blobs)
    assert len(server.asked) == 1
    assert list(blobs.folder.glob(".partial-*")) == []


def test_alternates_are_tried_after_the_address(server: Server, blobs: BlobStore) -> None:
    fetch(Source(SHA256, "x", ("/nowhere",), alternates=("/nowhere/else", f"{server.url}/x")), blobs)
    assert SHA256 in blobs


def test_an_md5_is_checked_as_well(server: Server, blobs: BlobStore) -> None:
    right = hashlib.md5(BODY, usedforsecurity=False).hexdigest()
    fetch(Source(SHA256, "x", (f"{server.url}/x",), md5=right), blobs)
    with pytest.raises(SourceError) as caught:
        fetch(Source(SHA256, "x", md5="0" * 32), blobs)
    assert str(caught.value) == (
        f"x: its sha256 is right, but the md5 should be {'0' * 32} and is {right}. Correct md5sum, or take it out."
    )


def test_several_sources_come_at_the_same_time(server: Server, blobs: BlobStore) -> None:
    blobs.folder.mkdir()
    other = BODY + b"more"
    (blobs.folder / "file").write_bytes(other)
    wanted = [
        Source(SHA256, "a", (f"{server.url}/together/a",)),
        Source(
            hashlib.sha256(other).hexdigest(), "b", (f"{server.url}/together/b",), alternates=(f"{blobs.folder}/file",)
        ),
    ]
    fetch_all(wanted, blobs)  # the server answers when both have asked
    assert all(source.sha256 in blobs for source in wanted)


def test_a_source_that_two_want_is_fetched_once(server: Server, blobs: BlobStore) -> None:
    source = Source(SHA256, "x", (f"{server.url}/x",))
    threads = [threading.Thread(target=fetch, args=(source, blobs)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(server.asked) == 1


def test_all_sources_that_can_not_be_had_are_told_together(blobs: BlobStore) -> None:
    wanted = [Source(digit * 64, f"{digit}.tar", ("/nowhere",)) for digit in "12"]
    with pytest.raises(SourceError) as caught:
        fetch_all(wanted, blobs)
    gone = "can't be had:\n  cache: it is not there\n  url: /nowhere: it can't be read: No such file or directory"
    assert str(caught.value) == (
        f"1.tar (sha256 {'1' * 64}) {gone}\n2.tar (sha256 {'2' * 64}) {gone}. "
        "Correct its address or checksum, or put the bytes into the source cache."
    )


@pytest.mark.parametrize(
    ("hints", "message"),
    [
        ({"md5": "abc"}, "x: 'abc' is not an md5. Give 32 hexadecimal digits, as md5sum prints them."),
        ({"debian": "nginx"}, "x: 'nginx' is not 'package version suite'. Write it like: nginx 1.26.3-3 trixie."),
        ({"debian": "a -o=x trixie"}, "x: 'a -o=x trixie' is not 'package version suite'. Write it like: nginx 1.26.3-3 trixie."),
        ({"npm": "uplot"}, "x: 'uplot' is not 'name@version'. Write it like uplot@1.6.32."),
        ({"npm": "--global@1"}, "x: '--global@1' is not 'name@version'. Write it like uplot@1.6.32."),
    ],
)  # fmt: skip
def test_hints_that_mean_nothing_are_refused(hints: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=f"^{re.escape(message)}$"):
        Source(SHA256, "x", **hints)  # type: ignore[arg-type]


def test_a_long_download_says_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    times = iter((0.0, 1.0, 2.0, 4.0, 5.0, 8.0))
    shown = progress.Progress("x.tar", 40_000_000, 10_000_000, clock=lambda: next(times))
    for _ in range(5):
        shown.add(5_000_000)
    assert [record.getMessage() for record in caplog.records] == [
        "x.tar: 25.0 of 40.0 MB, 3.8 MB/s",
        "x.tar: 35.0 of 40.0 MB, 3.1 MB/s",
    ]
