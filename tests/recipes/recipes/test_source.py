# SPDX-License-Identifier: Apache-2.0
"""Recipe source: by URL, and from a Python index of ours on loopback; the other providers have tests of their own."""

import gzip
import hashlib
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from allotment.blobs import BlobStore
from allotment.errors import UnreachableError
from allotment_recipes.providers import python_source
from allotment_recipes.recipes.source import Recipe
from allotment_recipes.sources import Source, SourceAwayError, SourceError, fetch


def make_sdist() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("PKG-INFO", "src/tool.c"):
            info = tarfile.TarInfo(f"my_tool-1.0/{name}")
            info.size = 5
            archive.addfile(info, io.BytesIO(b"text\n"))
    return gzip.compress(buffer.getvalue(), mtime=0)  # names of tests have its hash: each worker has the same


SDIST = make_sdist()
SHA256 = hashlib.sha256(SDIST).hexdigest()
PROFILE = """\
[buildout]
parts = tool
[tool]
recipe = allotment.recipes:source
"""


class Index(http.server.BaseHTTPRequestHandler):
    """Speaks JSON below /json, HTML below /html, and fails below /away."""

    def do_GET(self) -> None:
        kind, _, name = self.path.strip("/").partition("/")
        if name == "files/my_tool-1.0.tar.gz":
            self.answer("application/gzip", SDIST)
        elif kind == "away":
            self.send_error(503)
        elif kind == "nonsense":
            self.answer("application/vnd.pypi.simple.v1+json", b'{"files": 3}')
        elif name != "my-tool":
            self.send_error(404)
        elif kind == "json":
            assert "application/vnd.pypi.simple.v1+json" in self.headers["Accept"]
            file = {"url": "../files/my_tool-1.0.tar.gz", "hashes": {"sha256": SHA256}}
            page = json.dumps({"files": [{"url": "x", "hashes": {}}, file]}).encode()
            self.answer("application/vnd.pypi.simple.v1+json", page)
        else:
            link = f'<a>none</a> <A HREF="/html/files/my_tool-1.0.tar.gz#sha256={SHA256}">my_tool</A> <a href=x>x</a>'
            self.answer("text/html; charset=utf-8", f"<!DOCTYPE html><p>{link}".encode())

    def answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


@pytest.fixture
def blobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BlobStore:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    return BlobStore(tmp_path / "blobs")


WANTED = Source(SHA256, "tool", sdist="My.Tool==1.0")


@pytest.mark.parametrize("kind", ["json", "html"])
def test_an_index_s_page_leads_to_the_file(
    kind: str, server: str, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"{server}/{kind}")
    fetch(WANTED, blobs)
    assert blobs.read(SHA256) == SDIST


def test_a_second_index_is_asked_too_and_a_folder_can_be_one(
    server: str, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "simple/my-tool"
    folder.mkdir(parents=True)
    (folder / "x.tar.gz").write_bytes(SDIST)
    (folder / "index.html").write_text(f'<a href="x.tar.gz#sha256={SHA256}">x</a>')
    monkeypatch.setenv("PIP_INDEX_URL", f"{server}/away")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{server}/nothing file://{tmp_path}/simple")
    assert python_source.indexes()[1:] == [f"{server}/nothing", f"file://{tmp_path}/simple"]
    fetch(WANTED, blobs)


def test_each_index_s_reason_is_listed(server: str, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"{server}/away")
    with pytest.raises(SourceAwayError, match=r"python index: .*/away/my-tool/: the server answered 503"):
        fetch(WANTED, blobs)
    monkeypatch.setenv("PIP_INDEX_URL", f"{server}/nonsense")
    with pytest.raises(SourceError, match="/nonsense/my-tool/: it is no page of an index"):
        fetch(WANTED, blobs)
    monkeypatch.setenv("PIP_INDEX_URL", f"{server}/html")
    with pytest.raises(SourceError, match="python index: no index has a file of my-tool with this sha256"):
        fetch(Source("0" * 64, "tool", sdist="my-tool==1.0"), blobs)
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:hunter2@127.0.0.1:1")
    with pytest.raises(UnreachableError, match="it can't be read") as caught:
        python_source.fetch(WANTED, blobs)
    assert "hunter2" not in str(caught.value)


def test_without_a_configured_index_pip_s_own_is_asked(blobs: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    (main,) = python_source.indexes()
    assert main.startswith("https://")


def test_sources_are_a_folder_without_the_one_on_top(release: Any, tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(SDIST)
    lines = f"url = /none/x\nalternate-url = {tmp_path}/x.tar.gz\nsha256sum = {SHA256}\nversion = 1.0"
    assert release.build(PROFILE + lines).error == ""
    (part,) = (release.folder / "store").glob("tool-1.0-*")
    assert (part / "src/tool.c").read_text() == "text\n"
    assert release.build(PROFILE + lines + "\nstrip-top-level-dir = false").error == ""
    (other,) = (release.folder / "store").glob("tool-1.0-*")
    assert (other / "my_tool-1.0/src/tool.c").is_file()
    assert not part.exists()


def test_where_the_bytes_come_from_does_not_rename_the_part(release: Any) -> None:
    BlobStore(release.sources).write([SDIST])
    places = ["url = /a", "python-source = my-tool==1.0", "npm = my-tool@1.0", "debian-source = tool 1.0-1 sid"]
    built = [release.build(f"{PROFILE}{place}\nsha256sum = {SHA256}") for place in places]
    assert [result.error for result in built] == [""] * 4
    assert len({result.parts["tool"] for result in built}) == 1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "",
            "[tool] url: missing option. Add 'url = ...', 'debian-source = ...', 'python-source = ...' or 'npm = ...'.",
        ),
        ("url = /x", "[tool] sha256sum: missing option. Add 'sha256sum = ...'"),
        (
            f"sha256sum = {SHA256}\npython-source = tool",
            "[tool] python-source: 'tool' is not 'name==version'. Write it",
        ),
        (f"sha256sum = {SHA256}\nnpm = tool", "[tool] npm: 'tool' is not 'name@version'. Write it like"),
        (
            f"sha256sum = {SHA256}\ndebian-source = tool",
            "[tool] debian-source: 'tool' is not 'package version suite'",
        ),
        (f"sha256sum = {SHA256}\nurl = /x\nmd5sum = 1", "[tool] md5sum: '1' is not an md5. Give 32"),
    ],
)
def test_a_wrong_section_is_an_error_that_names_it(release: Any, lines: str, message: str) -> None:
    assert message in release.build(f"{PROFILE}{lines}").error


def test_the_providers_get_every_hint(make_recipe: Any) -> None:
    options = {"sha256sum": SHA256, "npm": "a@1", "debian-source": "ab 1-1\nsid", "python-source": "a==1"}
    source = make_recipe(Recipe, options).source
    assert (source.npm, source.debian, source.sdist, source.name) == ("a@1", "ab 1-1 sid", "a==1", "ab 1-1 sid")


@pytest.mark.parametrize(
    ("recipe", "lines", "message"),
    [
        (
            "download",
            "url = https://h/x",
            "url: https://h/x is elsewhere, and an instance fetches nothing. Fetch it in",
        ),
        (
            "download",
            "url = /x\nalternate-url = http://me:hunter2@h/x",
            "alternate-url: http://h/x is elsewhere, and an",
        ),
        ("download-unpacked", "url = https://h/x", "url: https://h/x is elsewhere, and an instance fetches nothing."),
        ("source", "url = https://h/x", "url: https://h/x is elsewhere, and an instance fetches nothing."),
        ("source", "npm = a@1.0.0", "npm: a@1.0.0 is elsewhere, and an instance fetches nothing."),
        ("gitclone", "repository = git@h:x", "repository: git@h:x is elsewhere, and an instance fetches nothing."),
    ],
)
def test_an_instance_fetches_nothing(partition: Any, recipe: str, lines: str, message: str) -> None:
    pin = "" if recipe == "gitclone" else f"sha256sum = {SHA256}\n"
    error = partition.run(f"[buildout]\nparts = x\n[x]\nrecipe = allotment.recipes:{recipe}\n{pin}{lines}\n").error
    assert error.startswith(f"[x] {message}")
    assert "hunter2" not in error


def test_an_instance_takes_what_is_on_its_machine(partition: Any, tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(SDIST)
    lines = f"url = {tmp_path}/x.tar.gz\nsha256sum = {SHA256}\ndestination = x"
    assert partition.run(f"[buildout]\nparts = x\n[x]\nrecipe = allotment.recipes:download\n{lines}\n").error == ""
    assert (partition.folder / "x").read_bytes() == SDIST
