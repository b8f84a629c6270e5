# SPDX-License-Identifier: Apache-2.0
"""Wheels and source archives from a Python index on this machine, by the real pip: only the pinned hash is taken."""

import hashlib
import http.server
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError
from allotment_recipes.egg_lock import resolve
from allotment_recipes.sources import Source, SourceError, fetch

METADATA = "Metadata-Version: 2.1\nName: kit\nVersion: 1.0\n"
WHEEL = "kit-1.0-py3-none-any.whl"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """Serve an index that has one wheel and one source archive; give it what its links end with."""
    folder = tmp_path / "index/simple/kit"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / WHEEL, "w") as archive:
        archive.writestr("kit-1.0.dist-info/METADATA", METADATA)
        archive.writestr("kit-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("kit-1.0.dist-info/RECORD", "")
    (folder / f"{WHEEL}.metadata").write_text(METADATA)
    (folder / "kit-1.0.tar.gz").write_bytes(b"sources")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "index"))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_address[1]}/simple/")

        def links(ending: str) -> Path:
            lines = [
                f'<a href="{name}{ending}" data-dist-info-metadata="true">{name}</a>'
                for name in (WHEEL, "kit-1.0.tar.gz")
            ]
            (folder / "index.html").write_text(f"<!doctype html>{''.join(lines)}")
            return folder

        yield links
        server.shutdown()


def test_a_wheel_with_another_hash_is_refused(index: Callable[[str], Path], tmp_path: Path) -> None:
    wheel = index("") / WHEEL
    right = hashlib.sha256(wheel.read_bytes()).hexdigest()
    blobs = BlobStore(tmp_path / "blobs")
    with pytest.raises(SourceError, match=f"python index: the sha256 should be {'1' * 64} but is {right}"):
        fetch(Source("1" * 64, "kit==1.0", requirement="kit==1.0"), blobs)
    assert right not in blobs
    fetch(Source(right, "kit==1.0", requirement="kit==1.0"), blobs)
    assert blobs.read(right) == wheel.read_bytes()


def test_a_source_archive_that_is_not_what_the_index_says_is_refused(
    index: Callable[[str], Path], tmp_path: Path
) -> None:
    pinned = hashlib.sha256(b"what was pinned").hexdigest()
    index(f"#sha256={pinned}")
    found = hashlib.sha256(b"sources").hexdigest()
    with pytest.raises(SourceError, match=f"the sha256 should be {pinned} but is {found}"):
        fetch(Source(pinned, "kit==1.0", sdist="kit==1.0"), BlobStore(tmp_path / "blobs"))
    with pytest.raises(SourceError, match="no index has a file of kit with this sha256"):
        fetch(Source("2" * 64, "kit==1.0", sdist="kit==1.0"), BlobStore(tmp_path / "blobs"))


@pytest.mark.parametrize("ending", ["", "#md5=0123456789abcdef0123456789abcdef"])
def test_a_lock_is_not_written_without_a_sha256(index: Callable[[str], Path], ending: str) -> None:
    index(ending)
    with pytest.raises(AllotmentError, match=r"the index tells no sha256 of kit 1\.0\. Use an index that does\."):
        resolve(["kit"], {"kit": "1.0"})
