# SPDX-License-Identifier: Apache-2.0
"""A build that wants out: what it tries as root and as anybody else, beside real files, folders and terminals."""

import os
import pty
import subprocess
import textwrap
from pathlib import Path

import pytest

from allotment_recipes.hermetic.sandbox import refusal

ROOT = Path(__file__).parents[3]
DEBIAN = "/usr/bin/python3"
pytestmark = [
    pytest.mark.root,  # only root can become somebody else
    pytest.mark.skipif(bool(refusal()), reason=f"this kernel confines nothing: {refusal()}"),
]

BUILDER = """
import os, sys
from pathlib import Path
from allotment_recipes.hermetic.sandbox import Sandbox
folder, script = Path(sys.argv[1]), sys.argv[2]
os.set_inheritable(os.open(folder / "outside", os.O_RDONLY), True)
environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"}
box = Sandbox([folder / "work"], [folder / "store"])
sys.exit(box.run(["/bin/sh", "-c", script], folder / "work", environment, (0, 1, 2)))
"""
# Without another program between: that would have no privileges in the second namespace of users.
NESTED = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print("unshare", libc.unshare(0x1002_0000))
for place in (b"{store}", b"/etc", b"/proc/sys"):
    print("mount", libc.mount(None, place, None, ctypes.c_ulong(0x1020), None))
    print("umount", libc.umount2(place, 2))
"""


@pytest.fixture
def place(open_folder: Path) -> Path:
    """A work folder, a store that is only read, and a folder that is not to be seen."""
    for name in ("work", "store", "outside"):
        (open_folder / name).mkdir()
        (open_folder / name).chmod(0o777)
    (open_folder / "outside/secret").write_text("nobody's business")
    return open_folder


@pytest.fixture(params=["root", "nobody"])
def user(request: pytest.FixtureRequest) -> list[str]:
    """What starts a program as a user."""
    return ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"] if request.param == "nobody" else []


def run(place: Path, user: list[str], script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a sandbox that a user builds in; its builder has left a file descriptor of ``outside`` open."""
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT}/core/src:{ROOT}/recipes/src"}
    command = [*user, DEBIAN, "-B", "-c", BUILDER, str(place), textwrap.dedent(script)]
    return subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )


def test_what_is_only_read_cannot_be_mounted_anew(place: Path, user: list[str]) -> None:
    store = place / "store"
    done = run(place, user, f"mount -o remount,bind,rw {store}; touch {store}/new; umount -l {store}; echo $?; id -u")
    assert not (store / "new").exists()
    assert done.stdout.splitlines()[0] != "0"
    assert "Read-only file system" in done.stderr


def test_another_namespace_is_no_way_out(place: Path, user: list[str]) -> None:
    (place / "work/nested.py").write_text(NESTED.format(store=place / "store"))
    done = run(place, user, f"{DEBIAN} nested.py")
    words = done.stdout.split()
    assert words[:2] == ["unshare", "0"]
    assert words[3::2] == ["-1"] * 6


def test_the_kernels_settings_are_only_read(place: Path, user: list[str]) -> None:
    done = run(place, user, "cat /proc/sys/kernel/printk > value; cat value > /proc/sys/kernel/printk || echo kept")
    assert done.stdout == "kept\n"
    done = run(place, user, "! test -e /proc/sysrq-trigger || ! test -w /proc/sysrq-trigger")
    assert done.returncode == 0


def test_no_open_file_of_the_builder_is_reached(place: Path, user: list[str]) -> None:
    done = run(place, user, "ls /proc/self/fd | wc -l; cat /proc/1/fd/*/secret /proc/self/fd/*/secret /proc/1/environ")
    assert done.stdout == "4\n", "the three, and that of the list itself"


def test_no_terminal_of_the_machine_is_there_and_new_ones_can_be_made(place: Path, user: list[str]) -> None:
    ours, theirs = pty.openpty()
    try:
        name = os.ttyname(theirs)
        assert Path(name).exists()
        done = run(place, user, f"ls /dev/pts; {DEBIAN} -c 'import os; print(os.ttyname(os.openpty()[1]))'")
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.stdout == "ptmx\n/dev/pts/0\n"


def test_root_too_sees_only_what_everybody_may_read(place: Path, user: list[str]) -> None:
    assert Path("/etc/shadow").stat().st_size > 0
    done = run(place, user, "cat /etc/shadow; find /etc -type f ! -perm -004 | wc -l; head -c 4 /etc/passwd")
    assert done.stdout == "0\nroot"


def test_the_builder_is_no_process_that_can_be_looked_into(place: Path, user: list[str]) -> None:
    trace = "import ctypes; print(ctypes.CDLL(None).ptrace(16, 1, None, None))"
    assert run(place, user, f"{DEBIAN} -c '{trace}'").stdout == "-1\n"
