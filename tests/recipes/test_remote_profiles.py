# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""Profiles that are extended by their URL, from a server on this machine."""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError
from allotment_recipes import remote_profiles
from allotment_recipes.lint.view import View
from allotment_recipes.manifest import build_release, install_release

BASE = """\
[template]
recipe = allotment.recipes:template.jinja2
output = ${buildout:directory}/${:_buildout_section_name_}
[place]
name = ${:_profile_base_location_}
"""
PROFILE = """\
    [buildout]
    extends = {extends}
    parts = one
    [one]
    <= template
    inline = ${{place:name}}
    """


class Server(ThreadingHTTPServer):
    """Serves ``files`` by path; what is in ``lossy`` loses each connection after half of what is left to send."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.lossy: set[str] = set()
        self.asked: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def serve(self, path: str, text: str | bytes) -> str:
        """Serve a profile; return its URL with its checksum."""
        data = text.encode() if isinstance(text, str) else text
        self.files[path] = data
        return f"{self.url}{path}#sha256={hashlib.sha256(data).hexdigest()}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        data = self.server.files.get(self.path)
        self.send_response(404 if data is None else 200)
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        if data is not None:
            self.wfile.write(data[: len(data) // 2] if self.path in self.server.lossy else data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def lock(release: Any) -> Any:
    return release.engine.lock(release.profile, release.root, release.folder, release.sources, 60.0, release.log)


def recorded(release: Any) -> dict[str, str]:
    lines = [json.loads(line) for line in (release.root / "allot.lock").read_text().splitlines()]
    return {line["url"]: line["sha256"] for line in lines[1:]}


def test_a_checksum_in_the_address_is_all_that_is_needed(server: Server, release: Any) -> None:
    release.run_twice(PROFILE.format(extends=server.serve("/stack/base.cfg", BASE)))
    assert release.text("one") == f"{server.url}/stack", "sections know the URL of their profile's folder"
    assert server.asked == ["/stack/base.cfg"], "the second run had it in the source cache"


def test_an_address_without_checksum_is_an_error_that_names_the_command(server: Server, release: Any) -> None:
    server.serve("/base.cfg", BASE)
    result = release.build(PROFILE.format(extends=f"{server.url}/base.cfg"))
    assert result.error == (
        f"[buildout] extends: {server.url}/base.cfg has no sha256, and allot.lock has none for it. "
        "Run 'allot lock root' once and commit allot.lock, or append '#sha256=' and its sha256."
    )
    assert server.asked == []


def test_what_is_relative_is_beside_the_profile_that_says_it(server: Server, release: Any) -> None:
    server.serve("/stack/base.cfg", "[buildout]\nextends = deep/more.cfg ../other.cfg\n" + BASE)
    server.serve("/stack/deep/more.cfg", "[buildout]\nextends = ../../other.cfg\n[words]\nmore = 1\n")
    server.serve("/other.cfg", "[others]\nfolder = ${:_profile_base_location_}\n")
    release.write("local.cfg", "[words]\nlocal = yes\n")
    release.write_profile(
        PROFILE.format(extends=f"{server.url}/stack/./base.cfg local.cfg").replace(
            "${place:name}", "${words:more} ${others:folder} ${words:local} ${place:name}"
        )
    )
    assert vars(lock(release)) == {"sources": 3, "new": 3, "gone": 0}
    assert sorted(recorded(release)) == [
        f"{server.url}/{name}" for name in ("other.cfg", "stack/base.cfg", "stack/deep/more.cfg")
    ]
    assert sorted(server.asked) == ["/other.cfg", "/stack/base.cfg", "/stack/deep/more.cfg"], "each once"
    server.files.clear()
    release.run_twice()
    assert release.text("one") == f"1 {server.url} yes {server.url}/stack"


def test_an_md5_is_checked_when_it_is_recorded_and_the_sha256_from_then_on(server: Server, release: Any) -> None:
    address = server.serve("/base.cfg", BASE).partition("#")[0]
    md5 = hashlib.md5(BASE.encode(), usedforsecurity=False).hexdigest()
    release.write_profile(PROFILE.format(extends=f"{address}#md5={'0' * 32}"))
    with pytest.raises(AllotmentError, match=rf"\[buildout\] extends: {address}: its md5 is {md5}, and the profile"):
        lock(release)
    release.write_profile(PROFILE.format(extends=f"{address}#md5={md5}"))
    assert "allot.lock has none for it with the md5" in release.build().error
    lock(release)
    assert recorded(release) == {address: hashlib.sha256(BASE.encode()).hexdigest()}
    assert release.build().error == ""


def test_a_file_that_changed_is_refused(server: Server, release: Any) -> None:
    pinned = server.serve("/base.cfg", BASE)
    server.serve("/base.cfg", BASE + "# changed\n")
    result = release.build(PROFILE.format(extends=pinned))
    assert re.search(
        rf"\[buildout\] extends: {server.url}/base.cfg .*can't be had:.*should be \w+ but is", result.error, re.DOTALL
    )
    assert result.cause == "software"


def test_two_checksums_of_one_profile_are_an_error(server: Server, release: Any) -> None:
    """What is extended a second time is not read again, so one of them would have no effect."""
    first = server.serve("/base.cfg", BASE)
    release.write("other.cfg", f"[buildout]\nextends = {first}\n")
    assert release.build(PROFILE.format(extends=f"{first} other.cfg")).error == ""
    second = server.serve("/base.cfg", BASE + "# newer\n")
    assert release.build(PROFILE.format(extends=f"other.cfg {second}")).error == (
        f"[buildout] extends: {server.url}/base.cfg is extended with two different checksums. Pin it alike everywhere."
    )


def test_what_was_recorded_stays_also_when_the_file_changed(server: Server, release: Any) -> None:
    address = server.serve("/base.cfg", BASE).partition("#")[0]
    release.write_profile(PROFILE.format(extends=address))
    lock(release)
    before = (release.root / "allot.lock").read_bytes()
    server.serve("/base.cfg", "[buildout]\nparts = evil\n")
    assert vars(lock(release)) == {"sources": 1, "new": 0, "gone": 0}
    assert (release.root / "allot.lock").read_bytes() == before
    assert release.build().error == "", "the source cache has it"


def test_lint_asks_for_a_checksum_where_nothing_is_recorded(server: Server, release: Any) -> None:
    server.serve("/base.cfg", BASE)
    address = f"{server.url}/stack/../base.cfg"
    release.write_profile(PROFILE.format(extends=address))
    (problem,) = View(release.profile).problems
    assert problem.what == f"extends: {address} has no sha256"
    lock(release)
    assert View(release.profile).problems == []
    release.write("allot.lock", "damaged")
    assert len(View(release.profile).problems) == 1


def test_what_is_no_longer_extended_leaves_the_lock(server: Server, release: Any) -> None:
    address = server.serve("/base.cfg", BASE).partition("#")[0]
    release.write_profile(PROFILE.format(extends=address))
    lock(release)
    release.write_profile(PROFILE.format(extends=server.serve("/base.cfg", BASE)))
    assert vars(lock(release)) == {"sources": 0, "new": 0, "gone": 1}


def test_a_profile_that_is_not_there_is_named(server: Server, release: Any) -> None:
    missing = f"{server.url}/missing.cfg"
    result = release.build(PROFILE.format(extends=f"{missing}#sha256={'0' * 64}"))
    assert f"[buildout] extends: {missing} (sha256 {'0' * 64}) can't be had" in result.error
    assert "404" in result.error
    release.write_profile(PROFILE.format(extends=missing))
    with pytest.raises(AllotmentError, match=rf"\[buildout\] extends: {missing}: the server answered 404"):
        lock(release)


def test_half_a_profile_is_neither_read_nor_recorded(server: Server, release: Any) -> None:
    pinned = server.serve("/base.cfg", BASE)
    server.lossy.add("/base.cfg")
    result = release.build(PROFILE.format(extends=pinned))
    assert f"[buildout] extends: {server.url}/base.cfg" in result.error
    assert result.cause == "machine", "a later build may do better"
    release.write_profile(PROFILE.format(extends=pinned.partition("#")[0]))
    with pytest.raises(AllotmentError, match=r"base\.cfg: the connection was lost"):
        lock(release)
    assert not (release.root / "allot.lock").exists()
    server.lossy.clear()
    lock(release)
    assert release.build().error == ""


def test_a_server_that_is_away_is_the_machines_trouble(release: Any) -> None:
    result = release.build(PROFILE.format(extends=f"http://127.0.0.1:1/base.cfg#sha256={'0' * 64}"))
    assert result.cause == "machine"
    assert "[buildout] extends: http://127.0.0.1:1/base.cfg" in result.error


@pytest.mark.parametrize(
    ("extends", "message"),
    [
        ("ftp://localhost/base.cfg", "[buildout] extends: ftp://localhost/base.cfg is not an address of a profile. Write http or https"),
        ("file:///base.cfg", "[buildout] extends: file:///base.cfg is not an address of a profile"),
        ("http://localhost:1/base.cfg#sha1=00", "[buildout] extends: http://localhost:1/base.cfg: '#sha1=00' is not a checksum"),
        ("http://localhost:1/base.cfg#sha256=00", "[buildout] extends: http://localhost:1/base.cfg: '00' is not a sha256"),
    ],
)  # fmt: skip
def test_an_address_that_pins_nothing_is_an_error(release: Any, extends: str, message: str) -> None:
    assert message in release.build(PROFILE.format(extends=extends)).error


def test_what_is_no_profile_is_named_by_its_address(server: Server, release: Any) -> None:
    for data, problem in (
        (b"what is this\n", "is not a profile: "),
        (b"\xff[buildout]\n", "is not a profile: it is not UTF-8 text"),
    ):
        result = release.build(PROFILE.format(extends=server.serve("/base.cfg", data)))
        assert result.error.startswith(f"{server.url}/base.cfg {problem}")


def test_two_profiles_that_extend_each_other_are_an_error(server: Server, release: Any) -> None:
    server.serve("/a.cfg", "[buildout]\nextends = b.cfg\n")
    server.serve("/b.cfg", "[buildout]\nextends = a.cfg\n")
    release.write_profile(PROFILE.format(extends=f"{server.url}/a.cfg"))
    with pytest.raises(AllotmentError, match=r"a\.cfg extends itself: .*a\.cfg -> .*b\.cfg -> .*a\.cfg"):
        lock(release)


def test_an_instance_fetches_no_profile(server: Server, partition: Any) -> None:
    result = partition.run(PROFILE.format(extends=server.serve("/base.cfg", BASE)))
    assert result.error == (
        f"[buildout] extends: {server.url}/base.cfg: an instance fetches nothing. "
        "Extend it in software.cfg, or put the file into the release."
    )
    assert server.asked == []


def test_a_release_is_installed_elsewhere_from_its_manifest(
    server: Server, engine: Any, write_tiny: Callable[[Path], Path], tmp_path: Path
) -> None:
    profile = write_tiny(tmp_path / "tree")
    remote = (profile.parent.parent / "stack/base.cfg").read_text().replace("${:_profile_base_location_}/", "")
    pinned = server.serve("/stack/base.cfg", remote)
    profile.write_text(profile.read_text().replace("../stack/base.cfg", pinned))
    built = build_release(
        profile, tmp_path / "tree", tmp_path / "built", tmp_path / "sources", engine, tmp_path / "log"
    )
    other = tmp_path / "other-sources"
    folder = tmp_path / "installed"
    result = install_release(built.manifest, built.closure, folder, other, engine, tmp_path / "log")
    assert result.error == ""
    assert hashlib.sha256(remote.encode()).hexdigest() in BlobStore(other)
    assert (folder / "instance.cfg").read_bytes() == (tmp_path / "built/instance.cfg").read_bytes()


@given(st.text(st.sampled_from("ab./?=:#%")), st.sampled_from(["http://h", "http://h/", "https://h:1/a/"]))
def test_a_place_is_its_own_place(path: str, host: str) -> None:
    try:
        found = remote_profiles.place(host + path)
    except ValueError:
        return
    assert remote_profiles.place(found) == found
    assert "/../" not in found.partition("?")[0]
