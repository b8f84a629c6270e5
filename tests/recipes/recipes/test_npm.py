# SPDX-License-Identifier: Apache-2.0
"""Recipe npm with the real npm, and packages from a registry of ours on loopback."""

import base64
import gzip
import hashlib
import http.server
import io
import json
import shutil
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from tests.recipes.hostile.archives import HOSTILE
from tests.recipes.patience import until

from allotment.errors import AllotmentError
from allotment_recipes.engine import BuildResult
from allotment_recipes.hermetic.sandbox import refusal
from allotment_recipes.npm_lock import read_lock

pytestmark = pytest.mark.skipif(shutil.which("npm", path="/usr/bin:/bin") is None, reason="needs npm")


def pack(name: str, script: str = "") -> bytes:
    """Return a package's tarball: a program that says its name."""
    package = {"name": name, "version": "1.0.0", "bin": {f"say-{name}": "say.js"}, "scripts": {"postinstall": script}}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member, text in (("package.json", json.dumps(package)), ("say.js", f"console.log('{name}')\n")):
            info = tarfile.TarInfo(f"package/{member}")
            data = ("#!/usr/bin/env node\n" + text if member == "say.js" else text).encode()
            info.size, info.mode = len(data), 0o755
            archive.addfile(info, io.BytesIO(data))
    return gzip.compress(buffer.getvalue(), mtime=0)


def integrity(data: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()


@dataclass
class Project:
    """A project that needs some packages, and their registry."""

    release: Any
    address: str
    served: dict[str, bytes]
    asked: list[str]
    lock: dict[str, Any] = field(default_factory=dict)

    def need(self, name: str, data: bytes | None = None, **more: Any) -> None:
        data = pack(name) if data is None else data
        self.served[f"/{name}-1.0.0.tgz"] = data
        url = f"{self.address}/{name}-1.0.0.tgz"
        self.lock[f"node_modules/{name}"] = {
            "version": "1.0.0", "resolved": url, "integrity": integrity(data), "bin": {f"say-{name}": "say.js"}, **more,
        }  # fmt: skip

    def build(self, lines: str = "") -> BuildResult:
        kinds: dict[str, dict[str, str]] = {"dependencies": {}, "devDependencies": {}}
        for place, package in self.lock.items():
            kinds["devDependencies" if package.get("dev") else "dependencies"][place.rpartition("/")[2]] = "1.0.0"
        project = {"name": "project", "version": "0.0.1", **kinds}
        lock = {**project, "lockfileVersion": 3, "requires": True, "packages": {"": project, **self.lock}}
        self.release.write("app/package.json", json.dumps(project))
        self.release.write("app/package-lock.json", json.dumps(lock))
        path = "" if "path =" in lines else "path = ${:_profile_base_location_}/app\n"
        return self.release.build(f"[buildout]\nparts = app\n[app]\nrecipe = allotment.recipes:npm\n{path}{lines}\n")

    @property
    def part(self) -> Path:
        (found,) = (self.release.folder / "store").glob("app-*")
        return Path(found)


@pytest.fixture
def project(release: Any) -> Iterator[Project]:
    served: dict[str, bytes] = {}
    asked: list[str] = []

    class Registry(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            data = served.get(self.path)
            self.send_response(404 if data is None else 200)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        yield Project(release, address, served, asked)
        server.shutdown()


def test_packages_are_installed_without_their_scripts_and_fetched_once(project: Project, tmp_path: Path) -> None:
    project.need("one", pack("one", f"touch {tmp_path}/ran"), hasInstallScript=True)
    project.need("two", dev=True)
    assert project.build("version = 3.1").error == ""
    assert project.part.name.startswith("app-3.1-")
    assert sorted(path.name for path in (project.part / "node_modules").iterdir() if path.name[0] != ".") == ["one"]
    done = subprocess.run([project.part / "node_modules/.bin/say-one"], capture_output=True, text=True, check=True)
    assert done.stdout == "one\n"
    assert not (tmp_path / "ran").exists()
    asked = len(project.asked)
    project.served.clear()
    assert project.build("omit = optional").error == "", "all tarballs are in the source cache"
    assert (project.part / "node_modules/two/say.js").is_file()
    assert len(project.asked) == asked
    old = project.part
    assert project.release.build("[buildout]\nparts =\n").error == ""
    assert not old.exists()


def test_scripts_run_when_they_are_asked_for(project: Project) -> None:
    project.need("one", pack("one", "echo $WORD > said"), hasInstallScript=True)
    assert project.build("scripts = true\nenvironment = WORD = hello").error == ""
    assert (project.part / "node_modules/one/said").read_text() == "hello\n"


def test_a_script_reaches_no_server_and_sees_no_home(project: Project) -> None:
    address = project.address.removeprefix("http://").replace(":", "/")
    reach = f"bash -c 'echo > /dev/tcp/{address}' 2> error || ls / > seen"
    project.need("one", pack("one", reach), hasInstallScript=True)
    assert project.build("scripts = true").error == ""
    folder = project.part / "node_modules/one"
    if refusal():
        pytest.skip(f"this kernel confines nothing: {refusal()}")
    assert "Connection refused" in (folder / "error").read_text()
    assert not {"home", "root", "srv"} & set((folder / "seen").read_text().split())


def test_a_changed_lock_is_another_part_and_the_second_run_changes_nothing(project: Project) -> None:
    project.need("one")
    first = project.build()
    made = project.part.stat().st_ctime_ns
    assert project.build().parts == first.parts
    assert project.part.stat().st_ctime_ns == made
    project.need("two")
    second = project.build()
    assert second.error == ""
    assert second.parts != first.parts


def test_a_run_that_is_killed_leaves_nothing_in_the_way(
    project: Project, tmp_path: Path, kill_runs: Callable[[], None]
) -> None:
    project.need("one")
    (tmp_path / "node/bin").mkdir(parents=True)
    program = tmp_path / "node/bin/npm"
    program.write_text("#!/bin/sh\nmkdir node_modules; touch node_modules/half; sleep 50\n")
    program.chmod(0o755)
    with ThreadPoolExecutor() as pool:
        built = pool.submit(project.build, f"node = {tmp_path}/node")
        until(lambda: list(project.release.folder.glob("store/*/node_modules/half")) or built.done())
        kill_runs()
        assert "signal 9" in built.result().error
    assert not list(project.release.folder.glob("store/app-*"))
    asked = len(project.asked)
    assert project.build().error == ""
    assert [path.name for path in (project.release.folder / "store").iterdir() if path.name != ".tools"] == [
        project.part.name
    ]
    assert not (project.part / "node_modules/half").exists()
    assert len(project.asked) == asked, "what was fetched before is in the source cache"


def test_a_script_that_never_ends_is_given_up(project: Project) -> None:
    """Though it holds what npm printed to."""
    project.need("one", pack("one", "sleep 100"), hasInstallScript=True)
    began = time.monotonic()
    assert project.build("scripts = true\ntimeout = 1").error.startswith("[app] npm took more than 1 s.")
    assert time.monotonic() - began < 60


def test_other_bytes_are_refused(project: Project) -> None:
    project.need("one")
    project.served["/one-1.0.0.tgz"] = pack("evil")
    error = project.build().error
    assert error.startswith("[app] one@1.0.0 can't be had: the sha512 should be ")
    assert not list(project.release.folder.glob("store/app-*"))


def test_a_node_of_another_part_is_used(project: Project, tmp_path: Path) -> None:
    project.need("one")
    (tmp_path / "node/bin").mkdir(parents=True)
    program = tmp_path / "node/bin/npm"
    program.write_text('#!/bin/sh\nmkdir -p node_modules; echo "$@" > node_modules/arguments\n')
    program.chmod(0o755)
    assert project.build(f"node = {tmp_path}/node").error == ""
    assert "ci --offline " in (project.part / "node_modules/arguments").read_text()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("path = /none", "[app] path: /none/package.json can't be read: No such file or directory. Write the folder"),
        ("omit = test", "[app] omit: 'test' is no kind. Write dev, optional or peer."),
        ("timeout = 0", "[app] timeout: is not above zero."),
        ("timeout = 0.001", "[app] npm took more than 0 s. Set a longer timeout."),
        ("node = /none", "[app] node: /none has no bin/npm. Refer to a part that has: ${<part>:location}."),
        ("environment = x", "[app] environment: 'x' is not NAME=value."),
        ("script = true", "[app] script: unknown option. Did you mean 'scripts'?"),
    ],
)
def test_a_wrong_section_is_an_error_that_names_it(project: Project, lines: str, message: str) -> None:
    project.need("one")
    assert message in project.build(lines).error


def test_npm_s_own_words_are_told(project: Project) -> None:
    project.need("one", pack("one", "echo broken >&2; exit 3"), hasInstallScript=True)
    error = project.build("scripts = true").error
    assert error.startswith("[app] npm failed with exit code ")
    assert "\n  | npm error " in error


def test_a_tarball_that_reaches_out_or_is_none_is_refused_before_npm_sees_it(project: Project) -> None:
    for data, problem in (
        (HOSTILE["name that climbs"](), "'p/../../hostile' is not a relative path inside it"),
        (b"no tarball", "is not an archive"),
    ):
        project.need("one", data)
        error = project.build().error
        assert error.startswith("[app] one@1.0.0")
        assert problem in error


ONE = {"version": "1.0.0", "integrity": integrity(b"")}


@pytest.mark.parametrize(
    ("packages", "message"),
    [
        ({"node_modules/a": {"version": "1.0.0"}}, "l: a@1.0.0 has no sha512."),
        ({"node_modules/a": {**ONE, "integrity": "sha1-x"}}, "l: a@1.0.0 has no sha512."),
        ({"node_modules/a": {**ONE, "integrity": "sha512-AAAA"}}, "l: a@1.0.0 has no sha512."),
        ({"node_modules/a": {**ONE, "resolved": "git+ssh://git@h/a.git"}}, "l: a@1.0.0 comes from git+ssh://h/a.git."),
        ({"node_modules/a": {**ONE, "resolved": "file:../a"}}, "l: a@1.0.0 comes from file:../a."),
        ({"node_modules/--x": {**ONE}}, "l: '--x@1.0.0' is no package of a registry"),
        ({"node_modules/a": {**ONE, "version": "file:x"}}, "l: 'a@file:x' is no package of a registry"),
        ({"node_modules/a": {"resolved": "../a", "link": True}}, "l: node_modules/a is the folder ../a. Use released"),
        ({"../a/node_modules/b": {**ONE}}, "l: ../a/node_modules/b is the folder ../a/node_modules/b. Use released"),
        ({"/etc/node_modules/b": {**ONE}}, "l: /etc/node_modules/b is the folder /etc/node_modules/b."),
        ({"node_modules/a": 3}, "l is no package-lock.json"),
        ([], "l is no package-lock.json"),
    ],
)
def test_what_nothing_pins_is_refused(packages: Any, message: str) -> None:
    with pytest.raises(AllotmentError) as caught:
        read_lock(json.dumps({"lockfileVersion": 3, "packages": packages}), "l")
    assert str(caught.value).startswith(message)


def test_a_lock_of_an_old_format_is_refused() -> None:
    with pytest.raises(AllotmentError, match=r"l has the format 1\. Write it anew with npm 7 or later"):
        read_lock('{"lockfileVersion": 1, "packages": {}}', "l")


def test_what_is_bundled_or_aliased_is_understood() -> None:
    packages = {
        "": {"name": "project"},
        "node_modules/a": {**ONE, "name": "@real/b"},
        "node_modules/a/node_modules/c": {**ONE, "inBundle": True},
        "w": {"version": "1.0.0"},
    }
    found = read_lock(json.dumps({"lockfileVersion": 2, "packages": packages}), "l")
    assert [tarball.name for tarball in found] == ["@real/b@1.0.0"]


JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.text(max_size=5),
    lambda inner: (
        some.lists(inner, max_size=3)
        | some.dictionaries(some.sampled_from(["lockfileVersion", "packages", "node_modules/a", "version", "x"]), inner)
    ),
    max_leaves=8,
)


@given(JSON)
def test_any_json_is_read_or_refused(value: Any) -> None:
    try:
        read_lock(json.dumps(value), "l")
    except AllotmentError as error:
        assert error.what.startswith("l")
