# SPDX-License-Identifier: Apache-2.0
"""A release that was built on one machine is installed on another one, which has no compiler, from a binary cache."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.recipes.binary_cache.conftest import Served, Yard

from allotment.codec import loads
from allotment.messages.manifest import ReleaseManifest
from allotment_recipes.binary_cache.caches import open_cache
from allotment_recipes.compiler import compiler
from allotment_recipes.engine import BuildEngine
from allotment_recipes.manifest import build_release
from allotment_recipes.store import padded_root, platform_name

# Builds look for the machine's programs in fixed folders, whatever the PATH is: here they are hidden from this process
# and all that it starts, by a mount that nobody else sees.
TOOLS = ("gcc", "cc", "g++", "c++", "cpp", "as", "ld", "make")
HIDE = 'for tool in $TOOLS; do mount --bind /dev/null "$(readlink -f "$tool")" || exit 9; done; exec "$@"'
INSTALL = """\
import json, sys
from pathlib import Path
from allotment.codec import loads
from allotment.messages.manifest import ReleaseManifest
from allotment_recipes.compiler import compiler
from allotment_recipes.engine import BuildEngine
from allotment_recipes.manifest import install_release
manifest, closure, place, caches = sys.argv[1:]
assert compiler() == "", compiler()
with BuildEngine() as engine:
    result = install_release(
        loads(ReleaseManifest, Path(manifest).read_bytes()), Path(closure), Path(place, "release"),
        Path(place, "sources"), engine, Path(place, "log"), store=Path(place, "store"), caches=json.loads(caches),
    )
print(json.dumps([result.ok, result.error]))
"""


def without_compiler(arguments: list[str]) -> "subprocess.CompletedProcess[str]":
    """Run Python in a mount namespace of its own, in which nothing compiles, assembles or links."""
    paths = {path for name in TOOLS if (path := shutil.which(name, path="/usr/bin:/bin"))}
    versioned = {str(path) for path in Path("/usr/bin").glob("*-linux-gnu-[glac]*") if path.is_file()}
    command = ["unshare", "-Urm", "/bin/sh", "-c", HIDE, "sh", sys.executable, "-c", *arguments]
    environment = {"PATH": "/usr/bin:/bin", "TOOLS": " ".join(sorted(paths | versioned)), "HOME": "/"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture
def release(yard: Yard, engine: BuildEngine) -> Path:
    """The release, built on the first machine; its folder."""
    folder = yard.place / "tree/software/greet"
    folder.mkdir(parents=True)
    (yard.place / "profiles/software.cfg").rename(folder / "software.cfg")
    text = (folder / "software.cfg").read_text().replace("parts = greeter", "parts = greeter profile")
    profile = "[profile]\nrecipe = allotment.recipes:template.jinja2\ninline = [buildout]\n  parts =\n"
    (folder / "software.cfg").write_text(f"{text}\n{profile}output = ${{buildout:directory}}/instance.cfg\n")
    for name in ("in.json", "out.json"):
        (folder / name).write_text('{"type": "object"}')
    types = {"title": "T", "description": "D", "profile": "instance.cfg", "parameters": "in.json"}
    description = {"format": 1, "name": "greet", "types": {"default": {**types, "published": "out.json"}}}
    (folder / "software.cfg.json").write_text(json.dumps(description))
    place = yard.place / "first"
    built = build_release(
        folder / "software.cfg", yard.place / "tree", place, yard.place / "sources", engine, place / "log",
        store=yard.place / "store",
    )  # fmt: skip
    parts = built.manifest.parts[platform_name()]
    yard.parts = {name: f"{name}-1-{parts[name][:32]}" for name in ("greeting", "greeter")}
    assert built.manifest.compiler == compiler() != ""
    return place


def arguments(yard: Yard, release: Path, place: Path, caches: list[object]) -> list[str]:
    manifest = loads(ReleaseManifest, (release / "manifest.json").read_bytes())
    digest = manifest.closure.sha256
    closure = yard.place / "sources" / digest[:2] / digest
    return [INSTALL, str(release / "manifest.json"), str(closure), str(place), json.dumps(caches)]


def test_a_release_is_installed_from_a_cache_where_nothing_compiles(
    yard: Yard, release: Path, served: Served, tmp_path: Path
) -> None:
    yard.push("store", served.open())
    (yard.place / "store").rename(yard.place / "gone")  # the first machine is not the second
    for source in yard.place.glob("*.tar"):
        source.unlink()
    place = tmp_path / "the/second/machine"
    done = without_compiler(arguments(yard, release, place, [{"url": served.url, "keys": [yard.key.public]}]))
    assert done.stdout == '[true, ""]\n', done.stdout + done.stderr + (place / "log").read_text()
    assert "building" not in (place / "log").read_text()
    root = padded_root(place / "store")
    said = subprocess.run([root / yard.parts["greeter"] / "bin/greeter"], capture_output=True, text=True, check=True)
    assert said.stdout == f"hello from {root / yard.parts['greeting']}\n"
    assert not [path for path in root.rglob("*") if path.is_file() and b"/gone/" in path.read_bytes()]


def test_without_a_cache_the_error_names_the_compiler(yard: Yard, release: Path, tmp_path: Path) -> None:
    done = without_compiler(arguments(yard, release, tmp_path / "m", []))
    ok, error = json.loads(done.stdout)
    assert not ok and f"is known as built with {compiler()}, and here is no compiler" in error
    assert f"Name a binary cache that has the part, or install {compiler()}." in error


def test_what_the_cache_has_not_is_an_error_that_names_the_compiler(yard: Yard, release: Path, tmp_path: Path) -> None:
    url = str(yard.place / "cache")
    yard.push("store", open_cache(url))
    (yard.place / f"cache/entries/{yard.parts['greeter']}.json").unlink()
    done = without_compiler(arguments(yard, release, tmp_path / "m", [{"url": url, "keys": [yard.key.public]}]))
    ok, error = json.loads(done.stdout)
    assert not ok and "[greeter] is known as built with gcc" in error
    assert f"fetched {yard.parts['greeting']}" in (tmp_path / "m/log").read_text()
