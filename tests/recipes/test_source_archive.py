# SPDX-License-Identifier: Apache-2.0
"""The distribution's source archive, by the machine's own apt; its smallest packages are fetched for real."""

import logging
import subprocess
from pathlib import Path

import pytest

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError
from allotment_recipes.providers import source_archive
from allotment_recipes.providers.source_archive import File, files_of, moved, upstream
from allotment_recipes.sources import MovedError, Source, SourceError, fetch

PIN = Source(
    "0fd35a7030052acd9f58948d1d900fe1e432ee37103c5561554408bdac6bbf0d", "tini", debian="tini 0.19.0-1 bookworm"
)
PARAGRAPH = """\
Package: nginx
Version: 1.26.3-3
Files:
 6df53f7005030c662573cc9fd5b3b178 3953 nginx_1.26.3-3.dsc
Checksums-Sha256:
 12ea 3953 nginx_1.26.3-3.dsc
 69ee 1260179 nginx_1.26.3.orig.tar.gz
 faa3 862 nginx_1.26.3.orig.tar.gz.asc
Directory: pool/main/n/nginx
"""


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> BlobStore:
    """A source cache whose lists are loaded once."""
    try:
        source_archive.mirror()
    except (AllotmentError, FileNotFoundError) as error:
        pytest.skip(f"needs apt and a source archive: {error}")
    store = BlobStore(tmp_path_factory.mktemp("blobs"))
    try:
        fetch(PIN, store)
    except SourceError as error:
        if isinstance(error.__context__, MovedError) or "can't load the lists" not in str(error):
            raise
        pytest.skip(f"needs the source archive: {error}")
    return store


def test_a_pin_is_found_by_its_sha256(blobs: BlobStore) -> None:
    assert len(blobs.read(PIN.sha256)) == 32369


def test_a_new_revision_of_the_package_with_the_same_archive_does_no_harm(blobs: BlobStore, tmp_path: Path) -> None:
    blobs.path(PIN.sha256).unlink()
    fetch(Source(PIN.sha256, "tini", debian="tini 0.19.0-0 bookworm"), blobs)
    assert PIN.sha256 in blobs


def test_a_moved_pin_says_so_and_how_to_write_it_anew(blobs: BlobStore) -> None:
    with pytest.raises(SourceError) as caught:
        fetch(Source("0" * 64, "tini", debian="tini 0.18.0-1 bookworm"), blobs)
    assert str(caught.value) == (
        f"tini (sha256 {'0' * 64}) can't be had:\n  cache: it is not there\n  source archive: the pin has moved: "
        "bookworm had tini 0.18.0-1 and has 0.19.0-1 now, with another archive. To take it, check what changed, "
        f"then write 'debian-source = tini 0.19.0-1 bookworm' and 'sha256sum = {PIN.sha256}' (tini_0.19.0.orig.tar.gz, "
        "32369 bytes); to stay, put the old bytes into the source cache."
    )


def test_what_the_lists_have_no_more_comes_while_the_archive_has_it(blobs: BlobStore) -> None:
    sha256 = "9fbf5e28ef86c69858f6d3d34eccc32e911c1a28b4120ff3e84aaa70cfbf1e30"  # trixie's, and not bookworm's
    fetch(Source(sha256, "lua", debian="lua5.4 5.4.7-1 bookworm"), blobs)
    assert sha256 in blobs


@pytest.mark.parametrize(
    ("version", "plain"),
    [("1:2.8.3-1~deb13u1", "2.8.3"), ("2.8-rc1-2", "2.8-rc1"), ("1.0", "1.0"), ("2:1.0", "1.0")],
)
def test_the_upstream_version_is_what_names_of_files_have(version: str, plain: str) -> None:
    assert upstream(version) == plain


def test_a_package_that_does_not_exist_is_named(blobs: BlobStore) -> None:
    with pytest.raises(SourceError, match="source archive: bookworm has no source package no-such-thing"):
        fetch(Source("0" * 64, "x", debian="no-such-thing 1.0 bookworm"), blobs)


def test_a_suite_that_does_not_exist_is_an_error_of_apt(blobs: BlobStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(SourceError, match=r"source archive: apt can't load the lists of nosuite: .*Release"):
        fetch(Source("0" * 64, "x", debian="tini 0.19.0-1 nosuite"), blobs)
    assert caplog.messages[0] == "loading the source archive's lists of nosuite"


def test_a_program_of_apt_is_looked_at_while_it_runs(tmp_path: Path) -> None:
    waits = f"until [ -e {tmp_path}/looked-at ]; do sleep 0.01; done; echo ended"
    done = source_archive._run(["/bin/sh", "-c", waits], look=(tmp_path / "looked-at").touch)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended\n", "")


def test_a_program_of_apt_that_never_ends_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_archive, "TIMEOUT", 0.0)
    with pytest.raises(AllotmentError, match="sleep took more than 0 s"):
        source_archive._run(["sleep", "1000"])


def test_nothing_is_written_outside_of_the_cache(blobs: BlobStore) -> None:
    text = (blobs.folder / ".apt/bookworm/apt.conf").read_text()
    wanted = ["-c", str(blobs.folder / ".apt/bookworm/apt.conf"), "dump", "--format", "%F %v%n"]
    found = dict(
        line.partition(" ")[::2] for line in subprocess.check_output(["apt-config", *wanted], text=True).splitlines()
    )
    assert "Dir::State" in text
    for name in ("Dir::State", "Dir::State::Lists", "Dir::State::status", "Dir::Cache", "Dir::Etc::SourceList"):
        assert {key.lower(): value for key, value in found.items()}[name.lower()].startswith(str(blobs.folder)), name


def test_a_paragraph_lists_its_files() -> None:
    assert list(files_of(PARAGRAPH)) == [
        File("1.26.3-3", "pool/main/n/nginx", "nginx_1.26.3-3.dsc", "12ea", 3953),
        File("1.26.3-3", "pool/main/n/nginx", "nginx_1.26.3.orig.tar.gz", "69ee", 1260179),
        File("1.26.3-3", "pool/main/n/nginx", "nginx_1.26.3.orig.tar.gz.asc", "faa3", 862),
    ]
    assert "sha256sum = 69ee" in moved("nginx", "1.0", "trixie", list(files_of(PARAGRAPH))).fix


@pytest.mark.parametrize("text", ["", "Checksums-Sha256: a b c", "Checksums-Sha256:\n a b c\n 1 2", "no colon\n x"])
def test_a_paragraph_without_files_has_none(text: str) -> None:
    assert list(files_of(text)) == []
