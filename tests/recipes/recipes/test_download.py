# SPDX-License-Identifier: Apache-2.0
"""Recipe download: files from a real server on loopback, from a disk, and from the source cache."""

import functools
import hashlib
import http.server
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from allotment.blobs import BlobStore
from allotment.errors import MachineError
from allotment_recipes.engine import BuildRequest, BuildResult
from allotment_recipes.recipes.download import Recipe
from allotment_recipes.store import padded_root

DATA = b"some bytes\n"
SHA256 = hashlib.sha256(DATA).hexdigest()
MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Downloads:
    """A release with one part ``file``, and a folder that a server shows."""

    release: Any
    short: Path
    served: Path
    address: str

    def build(self, lines: str, folder: str = "built") -> BuildResult:
        text = f"[buildout]\nparts = file\n[file]\nrecipe = allotment.recipes:download\n{lines}\n"
        (self.release.root / "software.cfg").write_text(text)
        return self.again(folder)

    def again(self, folder: str = "built") -> BuildResult:
        place, sources = self.short / folder, self.release.sources
        request = BuildRequest(self.release.root, "software.cfg", place, sources, 60.0, store=self.short / "s")
        return self.release.engine.build(request, place / "build.log")

    @property
    def part(self) -> Path:
        (found,) = (self.short / "built/store").iterdir()
        return found


@pytest.fixture
def downloads(release: Any, short_path: Path, tmp_path: Path) -> Iterator[Downloads]:
    served = tmp_path / "served"
    served.mkdir()
    (served / "data.bin").write_bytes(DATA)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Downloads(release, short_path, served, f"http://127.0.0.1:{server.server_address[1]}")
        server.shutdown()


def test_a_file_is_in_the_part_s_folder_and_stays_without_its_server(downloads: Downloads) -> None:
    lines = f"url = {downloads.address}/data.bin\nsha256sum = {SHA256.upper()}\nmd5sum = {MD5.upper()}\nversion = 2.5"
    first = downloads.build(lines)
    assert first.error == ""
    part = downloads.part
    assert part.name.startswith("file-2.5-")
    assert (part / "data.bin").read_bytes() == DATA
    assert stat.S_IMODE((part / "data.bin").stat().st_mode) == 0o644
    (downloads.served / "data.bin").unlink()
    assert downloads.again().parts == first.parts
    assert downloads.build("url = /none/data.bin\nsha256sum = " + SHA256).error == "", "from the source cache"
    assert downloads.part.name.startswith("file-1-"), "the old part is gone"


def test_others_read_location_target_and_filename(downloads: Downloads) -> None:
    lines = f"url = {downloads.address}/data.bin?x=1#y\nsha256sum = {SHA256}\n"
    copy = "[copy]\nrecipe = allotment.recipes:download\nsha256sum = " + SHA256
    result = downloads.build(
        f"{lines}{copy}\nurl = ${{file:location}}/${{file:filename}}\nalternate-url = ${{file:target}}".replace(
            "parts = file", "parts = file copy"
        )
    )
    assert result.error == ""
    text = (downloads.release.root / "software.cfg").read_text().replace("parts = file", "parts = copy")
    (downloads.release.root / "software.cfg").write_text(text)
    assert downloads.again().error == ""
    assert sorted(path.name.partition("-")[0] for path in (downloads.short / "built/store").iterdir()) == [
        "copy",
        "file",
    ]


def test_destination_filename_mode_and_removal(downloads: Downloads) -> None:
    lines = f"url = {downloads.address}/data.bin\nsha256sum = {SHA256}\nmode = 0755\n"
    assert downloads.build(f"{lines}destination = etc/some file").error == ""
    target = downloads.short / "built/etc/some file"
    assert (target.read_bytes(), stat.S_IMODE(target.stat().st_mode)) == (DATA, 0o755)
    target.write_bytes(b"changed by hand")
    assert downloads.again().error == ""
    assert target.read_bytes() == DATA
    assert downloads.build(f"{lines}filename = other").error == ""
    assert not target.exists()
    assert stat.S_IMODE((downloads.part / "other").stat().st_mode) == 0o755


def test_a_shared_file_is_one_for_all_releases_and_read_only(downloads: Downloads) -> None:
    lines = f"url = {downloads.address}/data.bin\nsha256sum = {SHA256}\nshared = true"
    first, second = downloads.build(lines, "one"), downloads.build(lines, "two")
    assert (first.error, second.error) == ("", "")
    assert first.parts == second.parts
    (part,) = padded_root(downloads.short / "s").glob("file-*")
    assert stat.S_IMODE((part / "data.bin").stat().st_mode) == 0o444
    assert not (downloads.short / "one/store").exists()
    line = '"is_reused": {}'
    for folder, is_reused in (("one", "false"), ("two", "true")):
        assert line.format(is_reused) in (downloads.short / folder / ".parts.jsonl").read_text()


def test_where_the_bytes_come_from_does_not_rename_the_part(downloads: Downloads) -> None:
    first = downloads.build(f"url = {downloads.address}/data.bin\nsha256sum = {SHA256}")
    (downloads.served / "mirror").mkdir()
    (downloads.served / "mirror/data.bin").write_bytes(DATA)
    second = downloads.build(
        f"url = {downloads.address}/gone/data.bin\nalternate-url = {downloads.address}/mirror/data.bin\n"
        f"sha256sum = {SHA256}\nmd5sum = {MD5}"
    )
    assert second.error == ""
    assert first.parts == second.parts


def test_an_alternate_is_tried_when_the_url_fails(downloads: Downloads) -> None:
    lines = f"url = {downloads.address}/gone/data.bin\nalternate-url = {downloads.address}/data.bin"
    assert downloads.build(f"{lines}\nsha256sum = {SHA256}").error == ""


def test_offline_asks_the_source_cache_only(downloads: Downloads) -> None:
    lines = f"url = {downloads.address}/data.bin\nsha256sum = {SHA256}\noffline = true"
    error = downloads.build(lines).error
    assert error.startswith(f"data.bin (sha256 {SHA256}) can't be had:\n  cache: it is not there. Correct")
    BlobStore(downloads.release.sources).write([DATA])
    assert downloads.again().error == ""


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "[file] url: missing option. Add 'url = ...'."),
        ("url = /x", "[file] sha256sum: missing option. Add 'sha256sum = ...'."),
        (
            "url = /x\nmd5sum = " + MD5,
            "[file] sha256sum: missing option, and an md5 alone pins nothing. Add 'sha256sum",
        ),
        ("url = /x\nsha256sum = abc", "[file] sha256sum: 'abc' is not a sha256. Give 64 hexadecimal digits"),
        (f"url = /x\nsha256sum = {SHA256}\nmd5sum = 1", "[file] md5sum: '1' is not an md5. Give 32 hexadecimal digits"),
        (f"url = http://h/\nsha256sum = {SHA256}\nfilename = a/b", "[file] filename: 'a/b' is not a file's name."),
        (f"url = ..\nsha256sum = {SHA256}", "[file] filename: '..' is not a file's name. Write a name without '/'."),
        (f"url = /x\nsha256sum = {SHA256}\nmode = rw", "[file] mode: 'rw' is not an octal number. Write it like 0644."),
        (f"url = /x\nsha256sum = {SHA256}\ndestination = .", "is a folder. Write the path of the file."),
        (f"url = /x\nsha256sum = {SHA256}\ndestination = x\nshared = true", "[file] destination: a shared part is in"),
        (f"url = /none/data\nsha256sum = {SHA256}", "url: /none/data: it can't be read: No such file"),
        (f"url = ftp://h/x\nsha256sum = {SHA256}", "the scheme 'ftp' is not read; write http, https or file"),
    ],
)
def test_a_wrong_section_is_an_error_that_names_it(downloads: Downloads, lines: str, message: str) -> None:
    assert message in downloads.build(lines).error


def test_other_bytes_are_refused_and_nothing_stays(downloads: Downloads) -> None:
    error = downloads.build(f"url = {downloads.address}/data.bin\nsha256sum = {'0' * 64}").error
    assert f"the sha256 should be {'0' * 64} but is {SHA256}" in error
    error = downloads.build(f"url = {downloads.address}/data.bin\nsha256sum = {SHA256}\nmd5sum = {'0' * 32}").error
    assert f"its sha256 is right, but the md5 should be {'0' * 32} and is {MD5}" in error
    assert not list((downloads.short / "built").glob("store/*"))


def test_a_password_in_a_url_is_in_no_error_and_no_log(downloads: Downloads) -> None:
    address = downloads.address.replace("//", "//user:hunter2@")
    error = downloads.build(f"url = {address}/data.bin\nsha256sum = {SHA256}").error
    assert "127.0.0.1" in error
    assert "hunter2" not in error
    assert "hunter2" not in (downloads.short / "built/build.log").read_text()


def test_a_url_without_a_path_gives_no_name(downloads: Downloads) -> None:
    error = downloads.build(f"url = https://user:hunter2@host\nsha256sum = {SHA256}").error
    assert error == "[file] filename: '' is not a file's name. Write a name without '/'."


def test_a_full_disk_is_told_and_nothing_half_stays(downloads: Downloads, make_recipe: Any, tmp_path: Path) -> None:
    (tmp_path / "parts").write_text("a file where the folder should be")
    recipe = make_recipe(Recipe, {"url": str(downloads.served / "data.bin"), "sha256sum": SHA256})
    with pytest.raises(MachineError, match=r"\[part\] .*parts.* Mend that and build again: what is whole is kept"):
        recipe.install()
