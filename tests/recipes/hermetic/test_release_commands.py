# SPDX-License-Identifier: Apache-2.0
"""Commands and Python of a release's own profile: what they reach in its build, and what they are told otherwise."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from allotment_recipes.engine import BuildRequest, BuildResult
from allotment_recipes.hermetic.root import secrets
from allotment_recipes.hermetic.sandbox import refusal
from allotment_recipes.store import padded_root

pytestmark = pytest.mark.skipif(bool(refusal()), reason=f"this kernel confines nothing: {refusal()}")

COMMAND = "[buildout]\nparts = c\n[c]\nrecipe = allotment.recipes:command\ncommand =\n"
SCRIPT = "[buildout]\nparts = s\n[s]\nrecipe = allotment.recipes:script\n"
PYTHON = f"{SCRIPT}init = options['location'] = ''\ninstall =\n"


def lines(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.splitlines())


@pytest.fixture
def outside(short_path: Path) -> Path:
    """A folder that everybody may write to, and that is not the release's."""
    folder = short_path / "outside"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "there").write_text("there")
    return folder


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a real server on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield server.getsockname()[1]
        with pytest.raises(BlockingIOError):
            server.accept()


def connecting(port: int) -> str:
    return f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 5)"


def test_a_command_has_no_network(release: Any, port: int) -> None:
    error = release.build(COMMAND + lines(f'/usr/bin/python3 -c "{connecting(port).replace(chr(10), ";")}"')).error
    assert error.startswith("[c] command failed with exit code 1")
    assert error.endswith(
        "ConnectionRefusedError: [Errno 111] Connection refused. "
        "A build has no network: fetch it in a section of the recipe download, and refer to that."
    )


def test_python_of_a_profile_has_no_network(release: Any, port: int) -> None:
    assert release.build(PYTHON + lines(connecting(port))).error == (
        "[s] install, line 2: ConnectionRefusedError: [Errno 111] Connection refused. "
        "A build has no network: fetch it in a section of the recipe download, and refer to that."
    )


def test_a_command_writes_into_the_release_only(release: Any, outside: Path) -> None:
    assert release.build(COMMAND + lines("echo x > made; echo y > $HOME/h; echo z > $TMPDIR/t")).error == ""
    assert (release.folder / "made").read_text() == "x\n"
    assert not (release.folder / ".build/c").exists()
    error = release.build(COMMAND + lines("echo x > /etc/made")).error
    fix = f"The build of a release may write only {release.folder}, HOME and TMPDIR, and not /etc/made. Write there."
    assert error.endswith(f"/etc/made: Read-only file system. {fix}")
    error = release.build(COMMAND + lines(f"cat {outside}/there")).error
    assert error.endswith(
        f"The build of a release may see only what it refers to, and not {outside}/there. "
        "Copy it into the profile's folder, or make it a part."
    )
    release.build(COMMAND + lines(f"mkdir -p {outside} && touch {outside}/new"))
    assert not (outside / "new").exists()


def test_what_is_told_of_a_failure_that_may_be_has_the_advice_too(release: Any) -> None:
    profile = COMMAND.replace("command =", "stop-on-error = false\ncommand =") + lines("echo x > /usr/made")
    assert release.build(profile).error == ""
    assert "and not /usr/made. Write there" in release.log.read_text()


def test_python_of_a_profile_writes_into_the_release_only(release: Any, outside: Path) -> None:
    assert release.build(PYTHON + lines("open('made', 'w').write('x')\nself.write('etc/y', 'y')")).error == ""
    assert (release.folder / "made").read_text() == "x"
    assert (release.folder / "etc/y").read_text() == "y"
    error = release.build(PYTHON + lines("open('/usr/made', 'w')")).error
    assert error.endswith("HOME and TMPDIR, and not /usr/made. Write there.")
    error = release.build(PYTHON + lines(f"self.write('{outside}/new', 'x')")).error
    assert f"{outside}/new is outside of {release.folder}" in error
    assert list(outside.iterdir()) == [outside / "there"]


def test_a_command_has_an_environment_that_is_always_the_same(release: Any) -> None:
    assert release.build(COMMAND + lines("env | cut -d= -f1 | sort | tr '\\n' ' ' > names; env > all")).error == ""
    names = (release.folder / "names").read_text().split()
    assert set(names) - {"PWD", "SHLVL", "_", "OLDPWD"} == {
        "PATH",
        "HOME",
        "TMPDIR",
        "LC_ALL",
        "TZ",
        "SOURCE_DATE_EPOCH",
    }
    assert f"HOME={release.folder}/.build/c/home\n" in (release.folder / "all").read_text()


def test_what_a_command_leaves_in_the_background_ends_with_it(release: Any) -> None:
    seen = f"seen-{os.getpid()}"  # other tests are at work on this machine
    text = f"(while sleep 0.02; do date >> {seen}; done) &\nwhile ! test -e {seen}; do sleep 0.02; done"
    assert release.build(COMMAND + lines(text)).error == ""
    at_work = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # of one that has ended meanwhile
            at_work.append(path.read_bytes())
    assert not [words for words in at_work if f"date >> {seen}".encode() in words]


def test_options_that_install_sets_are_read_by_others(release: Any) -> None:
    profile = PYTHON.replace("parts = s", "parts = s c") + lines("options['told'] = 'by install'\ndel options['gone']")
    profile += "gone = x\n[c]\nrecipe = allotment.recipes:script\nlocation =\nwait = ${s:recipe}\n"
    profile += "init = options['location'] = ''\nupdate = open('told', 'w').write(buildout['s']['told'])\n"
    assert release.build(profile).error == ""
    assert (release.folder / "told").read_text() == "by install"


def test_python_of_a_profile_can_mount_nothing(release: Any) -> None:
    text = """\
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
codes = [libc.mount(None, b'/', None, ctypes.c_ulong(0x1020), None), libc.umount2(b'/etc', 2)]
with open('codes', 'w') as file: file.write(repr(codes))
"""
    assert release.build(PYTHON + lines(text)).error == ""
    assert (release.folder / "codes").read_text() == "[-1, -1]"


def shared(release: Any, place: Path, text: str, more: str = "") -> BuildResult:
    release.write("software.cfg", f"{SCRIPT}shared = true\n{more}install =\n{lines(text)}")
    request = BuildRequest(release.root, "software.cfg", place / "built", release.sources, 60.0, store=place / "s")
    result: BuildResult = release.engine.build(request, release.log)
    return result


def test_a_shared_part_sees_none_of_the_store_but_what_it_refers_to(release: Any, short_path: Path) -> None:
    store = padded_root(short_path / "s")
    assert shared(release, short_path, "import os\nos.mkdir(location)").error == ""
    (other,) = store.glob("s-*")
    text = f"""\
import os
os.mkdir(location)
with open(location + '/seen', 'w') as file:
    file.write(str(os.path.exists('{other}')))
os.mkdir('{store}/stray')
"""
    assert shared(release, short_path, text).error == ""
    (part,) = set(store.glob("s-*")) - {other}
    assert (part / "seen").read_text() == "False"
    assert not (store / "stray").exists()
    assert not list(store.glob(".work/*.made"))


def test_an_instance_is_not_confined(partition: Any, outside: Path) -> None:
    profile = f"[buildout]\nparts = c s\n[c]\nrecipe = allotment.recipes:command\ncommand = touch {outside}/c\n"
    profile += f"[s]\nrecipe = allotment.recipes:script\nupdate = open('{outside}/s', 'w').close()\n"
    assert partition.run(profile).error == ""
    assert {path.name for path in outside.iterdir()} == {"there", "c", "s"}


def test_secrets_that_come_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    (folder / "inner").mkdir(parents=True)
    (folder / "open").write_text("")
    assert secrets(folder) == ()
    for name in ("inner/key", "key"):
        (folder / name).write_text("secret")
        (folder / name).chmod(0o600)
        assert (folder / name, False) in secrets(folder)
    (folder / "key").unlink()
    assert secrets(folder) == ((folder / "inner/key", False),)
