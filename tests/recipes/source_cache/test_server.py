# SPDX-License-Identifier: Apache-2.0
"""One machine serves its source cache, another one builds from it; only the hash decides what is taken."""

import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError
from allotment_recipes.npm_lock import Tarball, fetch_tarball
from allotment_recipes.providers import source_server
from allotment_recipes.source_cache import server as server_module
from allotment_recipes.source_cache.server import SourceServer
from allotment_recipes.sources import Source, SourceError, fetch
from allotment_recipes.testing.fake_sources import archive

DATA = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(DATA).hexdigest()
ALLOT = [sys.executable, "-m", "allotment"]


@dataclass(frozen=True)
class Machine:
    """A machine that serves: its source cache and where it is."""

    blobs: BlobStore
    url: str
    process: "subprocess.Popen[str]"

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=60)
        connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer, data


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[str], Machine]]:
    running: list[subprocess.Popen[str]] = []

    def start(name: str) -> Machine:
        folder = tmp_path / name
        command = [*ALLOT, "source", "serve", "--port", "0", "--json", "--sources", str(folder)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout is not None
        return Machine(BlobStore(folder), json.loads(process.stdout.readline())["url"], process)

    yield start
    for process in running:
        process.terminate()
        assert process.wait(60) == 0
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(autouse=True)
def no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(source_server, "_away", {})


def test_a_blob_is_served_by_its_hash_and_nothing_else_is(serve: Callable[[str], Machine], tmp_path: Path) -> None:
    machine = serve("a")
    machine.blobs.write([DATA])
    (tmp_path / "a" / "secret").write_text("secret")
    answer, data = machine.get(f"/{SHA256}")
    assert data == DATA
    assert answer.headers["ETag"] == f'"{SHA256}"'
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert machine.get(f"/{SHA256}", "HEAD")[0].headers["Content-Length"] == str(len(DATA))
    assert machine.get(f"/{SHA256}", If_None_Match=f'"{SHA256}"')[0].status == 304
    others = ("/", "/secret", f"/{SHA256[:2]}/{SHA256}", f"/{SHA256.upper()}", "/../secret", "/%2e%2e/secret")
    for path in (*others, f"/{'0' * 64}", "/sha512/../secret", f"/sha512/{'0' * 128}"):
        assert machine.get(path)[0].status == 404, path
    assert machine.get(f"/{SHA256}", "PUT")[0].status == 501


@pytest.mark.parametrize(
    ("asked", "status", "first", "last"),
    [
        ("bytes=0-9", 206, 0, 9),
        ("bytes=1000-", 206, 1000, len(DATA) - 1),
        ("bytes=-5", 206, len(DATA) - 5, len(DATA) - 1),
        ("bytes=5-99999999", 206, 5, len(DATA) - 1),
        ("bytes=-99999999", 200, 0, len(DATA) - 1),
        ("bytes=9-5", 200, 0, len(DATA) - 1),
        ("bytes=0-1,4-5", 200, 0, len(DATA) - 1),
        ("lines=1-2", 200, 0, len(DATA) - 1),
        (f"bytes={len(DATA)}-", 416, 0, -1),
        ("bytes=-0", 416, 0, -1),
    ],
)
def test_ranges(serve: Callable[[str], Machine], asked: str, status: int, first: int, last: int) -> None:
    machine = serve("a")
    machine.blobs.write([DATA])
    answer, data = machine.get(f"/{SHA256}", Range=asked)
    assert (answer.status, data) == (status, DATA[first : last + 1])
    if status == 206:
        assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(DATA)}"
    other, whole = machine.get(f"/{SHA256}", Range=asked, If_Range='"other"')
    assert (other.status, whole) == (200, DATA)


def test_of_no_bytes_there_is_no_part(serve: Callable[[str], Machine]) -> None:
    machine = serve("a")
    empty = machine.blobs.write([])
    assert machine.get(f"/{empty}")[1] == b""
    answer, data = machine.get(f"/{empty}", Range="bytes=5-")
    assert (answer.status, answer.headers["Content-Range"], data) == (416, "bytes */0", b"")


def test_a_silent_client_keeps_nobody_waiting(serve: Callable[[str], Machine]) -> None:
    machine = serve("a")
    machine.blobs.write([DATA])
    host, port = machine.url.removeprefix("http://").split(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(10)]
    assert machine.get(f"/{SHA256}")[1] == DATA
    for connection in silent:
        connection.close()


def test_a_client_that_speaks_byte_by_byte_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "TIMEOUT", 1.0)
    with SourceServer(tmp_path, "127.0.0.1", 0, None, None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        began = time.monotonic()
        with socket.create_connection(server.server_address[:2]) as connection, pytest.raises(OSError):
            while time.monotonic() - began < 100:
                connection.sendall(b"G")
                time.sleep(0.2)
        server.shutdown()
    assert time.monotonic() - began < 60


def test_it_is_served_to_others_only_with_a_certificate(tmp_path: Path) -> None:
    with pytest.raises(AllotmentError) as caught:
        SourceServer(tmp_path, "0.0.0.0", 0, None, None)
    assert str(caught.value) == (
        "0.0.0.0 can be reached by others, and there is no certificate. "
        "Give --certificate and --key, or listen at 127.0.0.1 behind a server that has one."
    )


def test_the_servers_are_asked_in_order_and_only_the_hash_decides(
    serve: Callable[[str], Machine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lies, lacks, has = serve("a"), serve("b"), serve("c")
    lies.blobs.write([DATA])
    lies.blobs.path(SHA256).write_bytes(b"something else")
    has.blobs.write([DATA])
    (tmp_path / "config/allotment").mkdir(parents=True)
    (tmp_path / "config/allotment/source-servers").write_text(f"# ours\n{has.url}/  # the good one\n")
    monkeypatch.setenv(source_server.VARIABLE, f"http://127.0.0.1:1 {lies.url} {lacks.url}")
    assert source_server.servers() == ["http://127.0.0.1:1", lies.url, lacks.url, has.url]
    here = BlobStore(tmp_path / "here")
    fetch(Source(SHA256, "x", (str(tmp_path / "nowhere"),)), here)
    assert here.read(SHA256) == DATA
    with pytest.raises(SourceError) as caught:
        fetch(Source("1" * 64, "y", ("/nowhere",)), here)
    assert "source cache server: http://127.0.0.1:1: it was away just now; " in str(caught.value)
    assert f"{lies.url}: the server answered 404 Not Found" in str(caught.value)
    monkeypatch.setenv(source_server.VARIABLE, "off")
    assert source_server.servers() == []


@pytest.mark.parametrize("where", ["variable", "file"])
def test_an_address_that_is_none_is_named_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.delenv(source_server.VARIABLE, raising=False)
    file = tmp_path / "config/allotment/source-servers"
    file.parent.mkdir(parents=True)
    if where == "file":
        file.write_text("ftp://x\n")
    else:
        monkeypatch.setenv(source_server.VARIABLE, "ftp://x")
    place = str(file) if where == "file" else "ALLOTMENT_SOURCE_SERVERS"
    with pytest.raises(SourceError, match=f"source cache server: {place}: 'ftp://x' is no address of a server"):
        fetch(Source(SHA256, "x", ("/nowhere",)), BlobStore(tmp_path / "here"))


def test_a_tarball_of_npm_comes_by_its_sha512(
    serve: Callable[[str], Machine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = serve("a")
    tarball = Tarball("x@1.0.0", "", hashlib.sha512(DATA).hexdigest())
    machine.blobs.write([DATA])
    (machine.blobs.folder / ".sha512").mkdir()
    (machine.blobs.folder / ".sha512" / tarball.sha512).write_text(SHA256)
    monkeypatch.setenv(source_server.VARIABLE, machine.url)
    assert fetch_tarball(tarball, BlobStore(tmp_path / "here")) == SHA256


PROFILE = """
[buildout]
parts = hello tree instance
[hello]
recipe = allotment.recipes:cmmi
url = {url}
sha256sum = {sha256}
configure-command = true
make-binary =
make-targets = true
post-install = mkdir -p @@LOCATION@@/share && cp greeting @@LOCATION@@/share
shared = false
[tree]
recipe = allotment.recipes:gitclone
repository = {repository}
revision = {revision}
tree-sha256 = {tree}
[instance]
recipe = allotment.recipes:template
inline =
  [buildout]
  parts =
output = ${{buildout:directory}}/instance.cfg
"""
DESCRIPTION = {
    "format": 1,
    "name": "served",
    "licences": ["Apache-2.0"],
    "types": {
        "default": {
            "title": "Served",
            "description": "It is built, and never run",
            "profile": "instance.cfg",
            "parameters": "any.json",
            "published": "any.json",
        }
    },
}


def allot(folder: Path, *words: str, **environment: str) -> Any:
    command = [*ALLOT, *words, "--json"]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_another_machine_builds_from_what_one_serves(
    serve: Callable[[str], Machine], tmp_path: Path, sources: Any
) -> None:
    """The second machine has another folder and another cache, and what is upstream is gone by then."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        (folder / "software/served").mkdir(parents=True)
    repository = tmp_path / "upstream.git"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    repository.mkdir()
    (repository / "file").write_text("of git\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *words], cwd=repository, check=True)
    tarball = sources.serve("hello-1.0.tar.gz", archive({"greeting": "hello\n"}))
    machine = serve("first/var/sources")
    git_pins = allot(first, "source", "add", f"file://{repository}", "--revision", "main")["options"]
    pins = allot(first, "source", "add", tarball.url)["options"]
    assert pins == {"url": tarball.url, "sha256sum": tarball.sha256}
    text = PROFILE.format(
        url=pins["url"], sha256=pins["sha256sum"], repository=git_pins["repository"], revision=git_pins["revision"],
        tree=git_pins["tree-sha256"],
    )  # fmt: skip
    for folder in (first, second):
        (folder / "software/served/software.cfg").write_text(text)
        (folder / "software/served/any.json").write_text('{"type": "object"}')
        (folder / "software/served/software.cfg.json").write_text(json.dumps(DESCRIPTION))
    sources.close()
    repository.rename(tmp_path / "gone")
    listed = allot(second, "source", "list", "software/served", "--missing")["releases"]["software/served"]
    assert [item["kind"] for item in listed["wanted"]] == ["source", "git"]
    fetched = allot(second, "source", "fetch", "--all", "--source-server", machine.url)["releases"]["software/served"]
    assert all(item["size"] for item in fetched["wanted"])
    assert fetched["lost"] == ""
    machine.process.send_signal(signal.SIGSTOP)  # nothing is asked of it any more
    try:
        built = allot(second, "build", "software/served", ALLOTMENT_SOURCE_SERVERS=machine.url)
    finally:
        machine.process.send_signal(signal.SIGCONT)
    store = Path(built["folder"]) / "store"
    assert next(store.glob("hello-*/share/greeting")).read_text() == "hello\n"
    assert next(store.glob("tree-*/file")).read_text() == "of git\n"
    kept = allot(second, "source", "list")["sources"]
    assert {tarball.sha256, git_pins["tree-sha256"]} <= {item["sha256"] for item in kept}
    assert any("hello-1.0.tar.gz" in " ".join(item["names"]) for item in kept)
