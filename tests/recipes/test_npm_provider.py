# SPDX-License-Identifier: Apache-2.0
"""Packages by npm, from a registry of ours on loopback: the smallest that the real npm is content with."""

import base64
import gzip
import hashlib
import http.server
import io
import json
import shutil
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from allotment.blobs import BlobStore
from allotment.hookspecs import SourceProvider
from allotment_recipes.sources import Source, SourceError, fetch

NPM = SourceProvider("npm", 60, "allotment_recipes.providers.npm:fetch")


def tarball() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        data = json.dumps({"name": "tiny", "version": "1.0.0", "scripts": {"prepack": "exit 1"}}).encode()
        info = tarfile.TarInfo("package/package.json")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return gzip.compress(buffer.getvalue(), mtime=0)


DATA = tarball()
SHA256 = hashlib.sha256(DATA).hexdigest()


class Registry(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        host = self.headers["Host"]
        if self.path == "/tiny":
            integrity = "sha512-" + base64.b64encode(hashlib.sha512(DATA).digest()).decode()
            distribution = {"tarball": f"http://{host}/tiny/-/tiny-1.0.0.tgz", "integrity": integrity}
            version = {"name": "tiny", "version": "1.0.0", "dist": distribution}
            self.answer(json.dumps({"name": "tiny", "versions": {"1.0.0": version}}).encode())
        elif self.path.endswith(".tgz"):
            self.answer(DATA)
        else:
            self.send_error(404)

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if shutil.which("npm") is None:
        pytest.skip("needs npm")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{running.server_address[1]}/"
        monkeypatch.setenv("npm_config_registry", url)
        yield url
        running.shutdown()


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def test_a_package_comes_through_the_machines_npm(registry: str, blobs: BlobStore) -> None:
    fetch(Source(SHA256, "tiny", npm="tiny@1.0.0"), blobs, [NPM])
    assert blobs.read(SHA256) == DATA


def test_other_bytes_are_refused(registry: str, blobs: BlobStore) -> None:
    with pytest.raises(SourceError, match=f"npm: the sha256 should be {'0' * 64} but is {SHA256}"):
        fetch(Source("0" * 64, "tiny", npm="tiny@1.0.0"), blobs, [NPM])


def test_a_version_that_does_not_exist_gives_npms_reason(registry: str, blobs: BlobStore) -> None:
    with pytest.raises(SourceError, match=r"npm: npm: .*No matching version found for tiny@9\.9\.9"):
        fetch(Source(SHA256, "tiny", npm="tiny@9.9.9"), blobs, [NPM])


def test_a_machine_without_npm_says_so(blobs: BlobStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match="npm: npm is not installed on this machine"):
        fetch(Source(SHA256, "tiny", npm="tiny@1.0.0"), blobs, [NPM])
