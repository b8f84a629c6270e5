# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
import ctypes
import errno
import hashlib
import http.server
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError, MachineError
from allotment.hookspecs import SourceProvider
from allotment_recipes.providers import url as url_provider
from allotment_recipes.recipes import download
from allotment_recipes.sources import DiskError, Source, SourceError, fetch, fetch_all, providers

DATA = b"the wanted bytes\n"
GOOD = hashlib.sha256(DATA).hexdigest()
OTHER = hashlib.sha256(b"something else").hexdigest()
URL = SourceProvider("url", 10, "allotment_recipes.providers.url:fetch")


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/data":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(DATA)
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def test_providers_are_asked_in_order() -> None:
    assert [item.name for item in providers()][:3] == ["cache", "source cache server", "url"]


def test_the_first_url_that_brings_the_bytes_wins(server: str, blobs: BlobStore, closed_port: int) -> None:
    urls = (f"http://127.0.0.1:{closed_port}/", f"{server}/missing", f"{server}/data")
    fetch(Source(GOOD, "data", urls), blobs)
    assert blobs.read(GOOD) == DATA


def test_a_source_in_the_cache_needs_no_network(blobs: BlobStore, closed_port: int) -> None:
    blobs.write([DATA])
    fetch(Source(GOOD, "data", (f"http://127.0.0.1:{closed_port}/",)), blobs)


def test_damaged_bytes_in_the_cache_are_fetched_anew(server: str, blobs: BlobStore) -> None:
    blobs.write([DATA])
    blobs.path(GOOD).write_bytes(b"damaged")
    fetch(Source(GOOD, "data", (f"{server}/data",)), blobs)
    assert blobs.read(GOOD) == DATA


def test_an_unreachable_source_lists_each_providers_reason(blobs: BlobStore, server: str, closed_port: int) -> None:
    urls = (f"http://127.0.0.1:{closed_port}/x", f"{server}/missing", "/nowhere/x", "ftp://example.invalid/x")
    with pytest.raises(SourceError) as caught:
        fetch(Source(GOOD, "x-1.tar.gz", urls), blobs)
    assert str(caught.value) == (
        f"x-1.tar.gz (sha256 {GOOD}) can't be had:\n  cache: it is not there\n  "
        f"url: http://127.0.0.1:{closed_port}/x: it can't be reached: Connection refused; "
        f"{server}/missing: the server answered 404 Not Found; "
        "/nowhere/x: it can't be read: No such file or directory; "
        "ftp://example.invalid/x: the scheme 'ftp' is not read; write http, https or file. "
        "Correct its address or checksum, or put the bytes into the source cache."
    )


def test_a_server_that_is_away_is_the_machines_trouble_and_a_wrong_address_is_not(
    blobs: BlobStore, server: str, closed_port: int
) -> None:
    away, wrong = f"http://127.0.0.1:{closed_port}/gone", f"{server}/nothing"
    for urls, is_machine in (((away,), True), ((wrong, away), True), ((wrong,), False)):
        with pytest.raises(SourceError) as caught:
            fetch(Source("0" * 64, "gone", urls), blobs, (URL,))
        assert isinstance(caught.value, MachineError) is is_machine


def test_a_wrong_checksum_says_both(blobs: BlobStore, server: str) -> None:
    with pytest.raises(SourceError, match=f"the sha256 should be {OTHER} but is {GOOD}"):
        fetch(Source(OTHER, "data", (f"{server}/data",)), blobs)
    assert GOOD not in blobs, "bytes that nobody asked for are not kept"


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException | None], SourceProvider]:
    """Make a provider that raises what it is given, or else brings the bytes."""

    def make(error: BaseException | None = None) -> SourceProvider:
        def bring(source: Source, blobs: BlobStore) -> None:
            if error is not None:
                raise error
            blobs.write([DATA])

        name = f"provider_{'good' if error is None else type(error).__name__}"
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(bring=bring))
        return SourceProvider(name, 1, f"{name}:bring")

    return make


@pytest.mark.parametrize("error", [RuntimeError("a bug"), PermissionError(errno.EACCES, "Permission denied", "/srv")])
def test_a_provider_that_breaks_down_is_a_reason_and_the_next_is_asked(
    blobs: BlobStore, provider: Callable[..., SourceProvider], error: Exception
) -> None:
    fetch(Source(GOOD, "data"), blobs, [provider(error), provider()])
    with pytest.raises(SourceError) as caught:
        fetch(Source(OTHER, "data"), blobs, [provider(error), provider()])
    name = type(error).__name__
    assert f"can't be had:\n  provider_{name}: {name}: {error}\n  provider_good: brought nothing. " in str(caught.value)


@pytest.mark.parametrize("address", ["http://[bad/x", "http://127.0.0.1:port/x", "http://user:hidden-word@[bad/x"])
def test_an_address_that_is_none_is_a_reason_and_the_next_is_tried(server: str, blobs: BlobStore, address: str) -> None:
    fetch(Source(GOOD, "data", (address, f"{server}/data")), blobs)
    assert blobs.read(GOOD) == DATA
    with pytest.raises(SourceError, match="it is no address: ") as caught:
        fetch(Source(OTHER, "data", (address,)), blobs, [URL])
    assert not isinstance(caught.value, MachineError), "no later try makes it one"
    assert "hidden-word" not in str(caught.value)


def test_a_full_disk_is_not_the_source_s_fault(blobs: BlobStore, provider: Callable[..., SourceProvider]) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/somewhere")
    with pytest.raises(DiskError) as caught:
        fetch(Source(GOOD, "data"), blobs, [provider(full), provider()])
    assert str(caught.value) == "/somewhere: No space left on device. Mend that and try again."


@pytest.mark.parametrize("path", ["/data", ""])
def test_a_disk_that_takes_no_more_is_told_at_once(server: str, blobs: BlobStore, tmp_path: Path, path: str) -> None:
    """By a limit on the size of files; an address and a file are read in different ways."""
    (tmp_path / "data").write_bytes(DATA)
    code = "import sys; from pathlib import Path; from allotment.blobs import BlobStore; "
    code += "from allotment_recipes.sources import Source, fetch; "
    code += "fetch(Source(sys.argv[1], 'data', (sys.argv[2], '/nowhere')), BlobStore(Path(sys.argv[3])))"
    url = f"{server}{path}" if path else str(tmp_path / "data")
    command = ["prlimit", "--fsize=3", sys.executable, "-c", code, GOOD, url, str(blobs.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert last == f"allotment_recipes.sources.DiskError: {blobs.folder}: File too large. Mend that and try again."


def test_of_sources_with_the_same_bytes_all_hints_are_used_and_each_md5_is_checked(
    server: str, blobs: BlobStore
) -> None:
    there = Source(GOOD, "there", urls=("/gone",), alternates=(f"{server}/data",))
    fetch_all([Source(GOOD, "gone", urls=("/nowhere",)), there, Source(GOOD, "lost", urls=("/lost",))], blobs)
    assert blobs.read(GOOD) == DATA
    with pytest.raises(SourceError, match=r"^wrong: its sha256 is right, but the md5 should be 0{32} and is "):
        fetch_all([Source(GOOD, "wrong", md5="0" * 32), there], blobs)


def test_several_fetches_that_fail_are_told_with_the_sources(blobs: BlobStore) -> None:
    def fail() -> None:
        raise SourceError("the other can't be had", "Look for it")

    with pytest.raises(SourceError) as caught:
        fetch_all([Source(GOOD, "data", ("/nowhere",))], blobs, others=[fail])
    assert str(caught.value).startswith(f"data (sha256 {GOOD}) can't be had:")
    assert "\nthe other can't be had. " in str(caught.value)


def test_a_text_that_is_no_sha256_is_refused() -> None:
    with pytest.raises(AllotmentError, match="'abc' is not a sha256"):
        Source("abc", "data")


def test_too_many_bytes_are_refused(blobs: BlobStore, server: str) -> None:
    with pytest.raises(SourceError, match="it is larger than 3 bytes"):
        fetch(Source(GOOD, "data", (f"{server}/data",), size_limit=3), blobs, [URL])


def test_a_server_that_says_nothing_is_given_up(blobs: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url_provider, "TIMEOUT", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        place = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(SourceError, match=re.escape(place) + ": (no answer within|it can't be reached: timed out)"):
            fetch(Source(GOOD, "data", (place,)), blobs, [URL])


def test_a_password_in_an_address_is_not_shown(blobs: BlobStore, closed_port: int) -> None:
    with pytest.raises(SourceError) as caught:
        fetch(Source(GOOD, "data", (f"http://user:hidden-word@127.0.0.1:{closed_port}/",)), blobs)
    assert "hidden-word" not in str(caught.value)


def test_download_puts_the_file_into_the_store(release: Any, tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(DATA)
    profile = f"""\
        [buildout]
        parts = data where
        [data]
        recipe = allotment.recipes:download
        url = file://{tmp_path}/data.bin
        sha256sum = {GOOD}
        mode = 0755
        [where]
        recipe = allotment.recipes:template.jinja2
        inline = ${{data:target}}
        output = ${{buildout:directory}}/where
        """
    assert release.build(profile).error == ""
    target = Path((release.folder / "where").read_text())
    assert target.read_bytes() == DATA
    assert target.stat().st_mode & 0o777 == 0o755
    assert re.fullmatch(r"data-1-[0-9a-f]{32}", target.parent.name)
    assert target.parent.parent == release.folder / "store"
    (tmp_path / "data.bin").unlink()
    assert release.build().error == "", "the second time it is there"


def test_a_part_is_on_the_disk_before_it_has_its_name(
    make_recipe: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    part = tmp_path / "parts/part"

    def syncfs(_: int) -> int:
        seen.append((part.exists(), [path.name for path in part.parent.glob("*/data.bin")]))
        return 0

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace(syncfs=syncfs))
    (tmp_path / "data.bin").write_bytes(DATA)
    make_recipe(download.Recipe, {"url": f"{tmp_path}/data.bin", "sha256sum": GOOD}).install()
    assert seen == [(False, ["data.bin"])]
    assert (part / "data.bin").read_bytes() == DATA


@pytest.mark.parametrize("line", ["", "destination = ${buildout:directory}/data"])
def test_download_fetches_anew_what_was_damaged_in_the_cache(release: Any, server: str, line: str) -> None:
    blobs = BlobStore(release.sources)
    blobs.write([DATA])
    blobs.path(GOOD).write_bytes(b"damaged")
    profile = (
        f"[buildout]\nparts = d\n[d]\nrecipe = allotment.recipes:download\nurl = {server}/data\nsha256sum = {GOOD}\n"
    )
    assert release.build(f"{profile}{line}\n").error == ""
    (path,) = release.folder.rglob("data")
    assert path.read_bytes() == DATA


def test_download_to_a_destination_outside_the_store(release: Any, server: str) -> None:
    release.build(
        f"[buildout]\nparts = d\n[d]\nrecipe = allotment.recipes:download\nurl = {server}/data\n"
        f"sha256sum = {GOOD}\ndestination = ${{buildout:directory}}/here/data\n"
    )
    assert (release.folder / "here/data").read_bytes() == DATA


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sha256sum = abc", "[d] sha256sum: 'abc' is not a sha256. Give 64 hexadecimal digits, as sha256sum prints them."),
        ("md5sums = abc", "[d] md5sums: unknown option. Did you mean 'md5sum'?"),
        ("", "[d] sha256sum: missing option. Add 'sha256sum = ...'."),
        (f"sha256sum = {GOOD}\nfilename = a/b", "[d] filename: 'a/b' is not a file's name. Write a name without '/'."),
    ],
)  # fmt: skip
def test_download_names_what_is_wrong(release: Any, line: str, message: str) -> None:
    result = release.build(
        f"[buildout]\nparts = d\n[d]\nrecipe = allotment.recipes:download\nurl = http://127.0.0.1/x\n{line}\n"
    )
    assert result.error.startswith(message)


def test_download_with_a_wrong_checksum_leaves_nothing(release: Any, server: str) -> None:
    result = release.build(
        f"[buildout]\nparts = d\n[d]\nrecipe = allotment.recipes:download\nurl = {server}/data\nsha256sum = {OTHER}\n"
    )
    assert f"the sha256 should be {OTHER} but is {GOOD}" in result.error
    assert list(release.folder.glob("store/*")) == []
