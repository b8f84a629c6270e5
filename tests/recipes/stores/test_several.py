# SPDX-License-Identifier: Apache-2.0
"""A user's store over a system store that only root can write to; real builds, as root and as nobody."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from allotment_recipes.shared_store import remove
from allotment_recipes.store import padded_root

FILES = {
    "Makefile": """\
install: $(KIND)
lib:
\tmkdir -p $(PREFIX)/lib
\t$(CC) $(CFLAGS) -shared -fPIC -Wl,-soname,libone.so -o $(PREFIX)/lib/libone.so one.c
program:
\tmkdir -p $(PREFIX)/bin
\t$(CC) $(CFLAGS) -o $(PREFIX)/bin/two two.c $(LDFLAGS) -lone
""",
    "one.c": "int one(void) { return 1; }\n",
    "two.c": "int one(void);\nint main(void) { return one() - 1; }\n",
}
PROFILE = """\
[buildout]
parts = {parts} profile
[one]
{common}make-options = KIND=lib PREFIX=@@LOCATION@@
[two]
{common}make-options = KIND=program PREFIX=@@LOCATION@@ ONE=${{one:location}}
{extra}
[profile]
recipe = allotment.recipes:template.jinja2
url = ${{:_profile_base_location_}}/instance.cfg.in
output = ${{buildout:directory}}/instance.cfg
context =
  raw part ${{{parts}:location}}
"""
KIND = {"title": "T", "description": "D", "profile": "instance.cfg", "parameters": "any.json", "published": "any.json"}
DEBIAN = Path("/usr/bin/python3")


def python_path() -> str:
    """Return where this environment's packages are, without the standard library."""
    return ":".join(path for path in sys.path if path and not path.startswith(sys.base_prefix))


@dataclass(frozen=True)
class Desk:
    """Where one user builds, in a folder that is this user's."""

    place: Path
    is_root: bool = True

    @property
    def _before(self) -> list[str]:
        if self.is_root:
            return [sys.executable]
        user = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
        variables = [f"HOME={self.place}", "PATH=/usr/bin:/bin", f"PYTHONPATH={python_path()}", "LC_ALL=C.UTF-8"]
        return [*user, "env", "-i", *variables, str(DEBIAN), "-B"]

    def start(self, *words: object) -> "subprocess.Popen[str]":
        command = [*self._before, "-m", "allotment", *map(str, words)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.place, stdout=pipe, stderr=pipe, text=True)

    def run(self, *words: object, code: int = 0) -> str:
        """Return what a command answers, with what it tells when it fails."""
        with self.start(*words) as process:
            output, told = process.communicate(timeout=110)
        assert process.returncode == code, told
        return output if code == 0 else told

    def build(self, release: Path, *words: object, store: str = "store") -> None:
        self.run("build", release, "--folder", self.place / "release", "--store", self.place / store, *words)

    def root(self, store: str = "store") -> Path:
        return padded_root(self.place / store)

    def parts(self, store: str = "store") -> list[str]:
        return sorted(path.name.partition("-")[0] for path in self.root(store).glob("[!.]*"))


@dataclass(frozen=True)
class Town:
    """Some users' desks, and the releases ``one`` and ``two``, of which the second needs what the first is made of."""

    place: Path

    def release(self, name: str, extra: str = "") -> Path:
        """Write a release; ``extra`` lines go into the section ``two``."""
        folder = self.place / "software" / name
        folder.mkdir(parents=True, exist_ok=True)
        archive = self.place / "sources.tar"
        if not archive.exists():
            with tarfile.open(archive, "w") as file:
                for path, text in FILES.items():
                    member = tarfile.TarInfo(f"sources-1/{path}")
                    member.size = len(text)
                    file.addfile(member, io.BytesIO(text.encode()))
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        common = f"recipe = allotment.recipes:cmmi\nurl = {archive}\nsha256sum = {digest}\nconfigure-command = true\n"
        (folder / "software.cfg").write_text(PROFILE.format(parts=name, common=common, extra=extra))
        (folder / "instance.cfg.in").write_text("[buildout]\nparts =\n# {{ part }}\n")
        (folder / "any.json").write_text('{"type": "object"}')
        document = {"format": 1, "name": name, "licences": ["Apache-2.0"], "types": {"default": KIND}}
        (folder / "software.cfg.json").write_text(json.dumps(document))
        return folder

    def desk(self, name: str, *, is_root: bool = True) -> Desk:
        folder = self.place / name
        folder.mkdir()
        if not is_root:
            if not DEBIAN.exists() or sys.version_info[:2] != (3, 11):
                pytest.skip("needs Debian's own Python to become nobody with")
            os.chown(folder, 65534, 65534)
        return Desk(folder, is_root)


@pytest.fixture
def town(short_path: Path) -> Iterator[Town]:
    short_path.chmod(0o755)
    yield Town(short_path)
    for folder in short_path.iterdir():
        if folder.is_dir():
            remove(folder)


def why(desk: Desk, part: str, *words: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(desk.run("store", "why", part, "--store", "store", "--json", *words))[
        "parts"
    ]
    return found


@pytest.mark.root
def test_nobody_builds_over_a_system_store_of_root_and_uses_its_parts_where_they_are(town: Town) -> None:
    system, user = town.desk("system"), town.desk("user", is_root=False)
    one, two = town.release("one"), town.release("two")
    system.build(one)
    assert system.parts() == ["one"]
    lower = ("--system-store", system.place / "store")
    before = sorted((str(path), path.lstat().st_mtime_ns) for path in system.root().rglob("*"))
    user.build(two, *lower)
    assert sorted((str(path), path.lstat().st_mtime_ns) for path in system.root().rglob("*")) == before
    assert user.parts() == ["two"]
    (program,) = user.root().glob("two-*/bin/two")
    (library,) = system.root().glob("one-*")
    assert subprocess.run([program], check=False).returncode == 0
    assert str(library / "lib").encode() in program.read_bytes(), "its rpath"
    alone = town.desk("alone")
    alone.build(two)
    assert sorted(path.name for path in alone.root().glob("[!.]*")) == [library.name, program.parent.parent.name]

    user.run("store", "gc", "--store", "store")
    assert (user.parts(), system.parts()) == (["two"], ["one"])
    ways = [way for part in why(user, "one", *lower) for way in part["roots"] if way["name"].startswith("/")]
    names = {way["name"]: [Path(step).name.partition("-")[0] for step in way["chain"]] for way in ways}
    assert names == {str(system.place / "release"): ["one"], str(user.place / "release"): ["two", "one"]}
    error = user.run("store", "gc", "--store", system.place / "store", code=1)
    assert "Permission denied. Do this as the user who owns the store, where it can be written to." in error


def test_a_part_is_built_anew_when_what_it_needs_of_a_system_store_is_gone(town: Town) -> None:
    system, user = town.desk("system"), town.desk("user")
    one, two = town.release("one"), town.release("two")
    system.build(one)
    user.build(two, "--system-store", system.place / "store")
    assert user.parts() == ["two"]
    remove(system.place / "release")
    (system.root() / ".roots").chmod(0o700)
    for path in (system.root() / ".roots").iterdir():
        path.unlink()  # as where a user may not register
    system.run("store", "gc", "--store", "store")
    assert system.parts() == []
    user.build(two, "--system-store", system.place / "store")
    assert user.parts() == ["one", "two"]
    (program,) = user.root().glob("two-*/bin/two")
    assert subprocess.run([program], check=False).returncode == 0


@pytest.mark.root
def test_a_user_who_may_register_in_the_system_store_keeps_its_parts(town: Town) -> None:
    system, user = town.desk("system"), town.desk("user", is_root=False)
    one, two = town.release("one"), town.release("two")
    system.build(one)
    (system.root() / ".roots").chmod(0o1777)
    user.build(two, "--system-store", system.place / "store")
    remove(system.place / "release")
    system.run("store", "gc", "--store", "store")
    assert system.parts() == ["one"]
    remove(user.place / "release")
    system.run("store", "gc", "--store", "store")
    assert system.parts() == []


@pytest.mark.root
def test_two_users_build_the_same_at_once_over_one_system_store(town: Town) -> None:
    system, root, nobody = town.desk("system"), town.desk("root"), town.desk("nobody", is_root=False)
    one, two = town.release("one"), town.release("two")
    system.build(one)
    started = [
        desk.start("build", two, "--store", "store", "--folder", "release", "--system-store", system.place / "store")
        for desk in (root, nobody)
    ]
    for process in started:
        _, told = process.communicate(timeout=110)
        assert process.returncode == 0, told
    assert (root.parts(), nobody.parts(), system.parts()) == (["two"], ["two"], ["one"])
    names = [sorted(path.name for path in desk.root().glob("[!.]*")) for desk in (root, nobody)]
    assert names[0] == names[1]
    for desk in (root, nobody):
        assert json.loads(desk.run("store", "verify", "--store", "store", "--json"))["damaged"] == {}


def test_a_collection_in_the_middle_of_a_build_takes_nothing_that_it_needs(town: Town) -> None:
    desk = town.desk("user")
    release = town.release("two", "pre-build = while [ ! -e ${one:location}/go ]; do sleep 0.05; done")
    with desk.start("build", release, "--store", "store", "--folder", "r") as build:
        deadline = time.monotonic() + 60
        while not list(desk.root().glob(".two-*.new")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        desk.run("store", "gc", "--store", "store")
        assert build.poll() is None, "it is still at work"
        assert desk.parts() == ["one", "two"], "of which the second is not whole yet"
        (one,) = desk.root().glob("one-*")
        one.chmod(0o755)
        (one / "go").touch()
        _, told = build.communicate(timeout=110)
    assert build.returncode == 0, told
    (program,) = desk.root().glob("two-*/bin/two")
    assert subprocess.run([program], check=False).returncode == 0


@pytest.mark.parametrize("which", ["missing", "own", "moved"])
def test_a_system_store_that_can_not_be_used_is_named(town: Town, which: str) -> None:
    user = town.desk("user")
    one = town.release("one")
    folder = user.place / {"missing": "nowhere", "own": "store", "moved": "moved"}[which]
    if which == "moved":
        user.build(one, store="before")
        (user.place / "before").rename(folder)
        before = user.place / "before"
        padded_root(folder).parent.mkdir(exist_ok=True)
        (folder / padded_root(before).name).rename(padded_root(folder))
    (user.place / "store").mkdir()
    error = user.run("build", one, "--folder", "r", "--store", "store", "--system-store", folder, code=1)
    assert error.splitlines()[-1].endswith(
        {
            "missing": f"the system store {folder} does not exist. Correct its path, or leave it out.",
            "own": f"the system store {folder} is the store to build in. Name it once.",
            "moved": f"the system store {folder} was moved: its parts work only where they were built. "
            "Move it back, or leave it out.",
        }[which]
    )
