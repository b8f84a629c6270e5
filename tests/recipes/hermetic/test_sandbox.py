# SPDX-License-Identifier: Apache-2.0
"""The sandbox of a build with real servers, files and processes beside it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from allotment.errors import MachineError
from allotment_recipes.hermetic.sandbox import Sandbox, refusal

ROOT = Path(__file__).parents[3]
DEBIAN = "/usr/bin/python3"
BOUNDED = ["unshare", "-Ur", "sh", "-c", 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"', "sh"]
pytestmark = pytest.mark.skipif(bool(refusal()), reason=f"this kernel confines nothing: {refusal()}")


def run(folder: Path, script: str, sandbox: Sandbox | None = None) -> tuple[int, str]:
    """Run a shell script; return its exit code and its output."""
    log = folder / "log"
    with log.open("w+b") as output, open(os.devnull, "rb") as nothing:
        files = (nothing.fileno(), output.fileno(), output.fileno())
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
        box = sandbox or Sandbox([folder])
        code = box.run(["/bin/sh", "-ec", textwrap.dedent(script)], folder, environment, files)
    return code, log.read_text()


def at_work(words: str) -> list[str]:
    """Return the numbers of the processes whose command has ``words`` in it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # of one that has ended meanwhile
            found += [path.parent.name] if words.encode() in path.read_bytes() else []
    return found


class Listener:
    """A real server on a socket, that counts whoever reaches it."""

    def __init__(self, family: int, address: tuple[str, int] | str) -> None:
        self.reached = 0
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.bind(address)
        self._socket.listen()
        self.address = self._socket.getsockname()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.reached += 1
            connection.close()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


@pytest.fixture
def listeners(open_folder: Path) -> Iterator[dict[str, Listener]]:
    """A server of each kind; that with a file has it in a folder of temporary files and in one of nobody's."""
    folder = "/run" if os.access("/run", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="h-") as other, tempfile.TemporaryDirectory(dir=folder) as run_folder:
        found = {
            "tcp": Listener(socket.AF_INET, ("127.0.0.1", 0)),
            "abstract": Listener(socket.AF_UNIX, f"\0allotment-{os.getpid()}"),
            "file": Listener(socket.AF_UNIX, f"{other}/socket"),
            "run": Listener(socket.AF_UNIX, f"{run_folder}/socket"),
        }
        yield found
        for listener in found.values():
            listener.close()


CONNECT = """
import errno, socket, sys
address = {address!r}
family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
try:
    socket.socket(family).connect(address)
except OSError as error:
    print(errno.errorcode[error.errno])
else:
    print("reached")
"""


@pytest.mark.parametrize(
    ("kind", "error"), [("tcp", "ECONNREFUSED"), ("abstract", "ECONNREFUSED"), ("file", "ENOENT"), ("run", "ENOENT")]
)
def test_no_server_of_the_machine_is_reached(
    open_folder: Path, listeners: dict[str, Listener], kind: str, error: str
) -> None:
    listener = listeners[kind]
    (open_folder / "connect.py").write_text(CONNECT.format(address=listener.address))
    code, output = run(open_folder, f"{DEBIAN} connect.py")
    assert (code, output) == (0, f"{error}\n")
    assert listener.reached == 0
    subprocess.run([DEBIAN, "connect.py"], cwd=open_folder, check=True, capture_output=True)
    deadline = time.monotonic() + 60
    while listener.reached == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert listener.reached == 1, "without the sandbox it is reached"


def test_the_network_is_unreachable_and_the_own_loopback_works(open_folder: Path) -> None:
    (open_folder / "connect.py").write_text(CONNECT.format(address=("192.0.2.1", 80)))
    assert run(open_folder, f"{DEBIAN} connect.py") == (0, "ENETUNREACH\n")
    pair = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname())"
    assert run(open_folder, f'{DEBIAN} -c "{pair}"') == (0, "")


def test_only_its_own_folders_can_be_written_to(open_folder: Path) -> None:
    work, store, other = open_folder / "work", open_folder / "store", f"{open_folder.name}.file"
    for folder in (work, store, store / ".part.new"):
        folder.mkdir()
    (store / "part").symlink_to(".part.new")
    (store / "whole").write_text("whole")
    box = Sandbox([work, store / "part"], [store])
    script = f"""
        for place in / /usr /usr/bin /etc {store} {store}/whole; do
            if (echo > $place/new) 2> /dev/null || (echo > $place) 2> /dev/null; then echo "wrote $place"; fi
        done
        echo one > {store}/part/file; echo two > file; echo three > /tmp/{other}; echo four > /dev/shm/{other}
        cat {store}/whole
    """
    (work / "log").touch()
    assert run(work, script, box) == (0, "whole")
    assert (store / ".part.new/file").read_text() == "one\n"
    assert (work / "file").read_text() == "two\n"
    assert not [place for place in ("/tmp", "/dev/shm") if Path(place, other).exists()]


def test_other_folders_are_not_there(open_folder: Path) -> None:
    other = Path(tempfile.mkdtemp(prefix="other-"))
    (other / "secret").write_text("nobody's business")
    try:
        assert (
            run(open_folder, f"ls -a / /tmp; ls {other} /home /root /run /opt /srv /usr/local || true; ls /var")[0] == 0
        )
        output = (open_folder / "log").read_text()
    finally:
        (other / "secret").unlink()
        other.rmdir()
    assert output.count("No such file or directory") == 7
    assert "secret" not in output and ".old" not in output


def test_what_goes_on_in_the_background_ends_with_the_step(open_folder: Path) -> None:
    seen = open_folder / "seen"
    script = f"""
        (while sleep 0.05; do date >> {seen}; done) &
        setsid sh -c 'sleep 60' &
        while ! test -e {seen}; do sleep 0.05; done
    """
    assert run(open_folder, script)[0] == 0
    size = seen.stat().st_size
    time.sleep(0.3)
    assert seen.stat().st_size == size


def test_how_a_step_ended_is_told(open_folder: Path) -> None:
    assert run(open_folder, "exit 3")[0] == 3
    assert run(open_folder, "kill -9 $$")[0] == -signal.SIGKILL
    assert run(open_folder, "kill -9 0")[0] == -signal.SIGKILL, "our own process group is another one"


def test_a_step_that_takes_too_long_is_killed(open_folder: Path) -> None:
    began = time.monotonic()
    with open(os.devnull, "r+b") as file, pytest.raises(TimeoutError):
        Sandbox([open_folder]).run(["/bin/sleep", "60"], open_folder, {}, (file.fileno(),) * 3, timeout=0.3)
    assert time.monotonic() - began < 50


def test_all_end_when_whoever_builds_is_killed(open_folder: Path) -> None:
    seen = open_folder / "seen"
    code = f"""
        import os
        from pathlib import Path
        from allotment_recipes.hermetic.sandbox import Sandbox
        folder, script = Path("{open_folder}"), "(while sleep 0.05; do date >> {seen}; done) & sleep 60"
        Sandbox([folder]).run(["/bin/sh", "-c", script], folder, dict(os.environ), (0, 1, 2))
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.DEVNULL) as builder:
        deadline = time.monotonic() + 60
        while not seen.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert seen.exists()
        builder.kill()
    deadline = time.monotonic() + 60
    while at_work(f"date >> {seen}") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert at_work(f"date >> {seen}") == []


@pytest.mark.root
def test_an_ordinary_user_has_the_same_sandbox(open_folder: Path) -> None:
    """With Debian's interpreter, which has no unshare."""
    code = f"""
        import os
        from pathlib import Path
        from allotment_recipes.hermetic.sandbox import Sandbox, refusal
        assert refusal() == "", refusal()
        script = "id -u; touch mine; ls /home /root; touch /etc/mine; cat /proc/net/dev"
        folder = Path("{open_folder}")
        os._exit(Sandbox([folder]).run(["/bin/sh", "-c", script], folder, dict(os.environ), (0, 1, 2)))
    """
    paths = f"{ROOT}/core/src:{ROOT}/recipes/src"
    command = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", DEBIAN, "-c", textwrap.dedent(code)]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    lines = done.stdout.splitlines()
    assert lines[0] == "65534"
    assert (open_folder / "mine").stat().st_uid == 65534
    assert "Read-only file system" in done.stderr
    assert [line.split(":")[0].strip() for line in lines[3:]] == ["lo"]


@pytest.mark.root
def test_root_keeps_all_users_numbers(open_folder: Path) -> None:
    """An archive's files may belong to anybody; tar gives them to him when root unpacks."""
    assert run(open_folder, "touch file; chown 1234:5678 file; stat -c '%u %g' file") == (0, "1234 5678\n")


def test_a_kernel_that_refuses_is_told(open_folder: Path) -> None:
    """The limit of a user's namespaces is one of the machine's ways to refuse."""
    code = """
        import sys
        from pathlib import Path
        from allotment_recipes.hermetic.sandbox import Sandbox, refusal
        print(refusal())
        Sandbox([Path("/tmp")]).run(["/bin/true"], Path("/tmp"), {}, (0, 1, 2))
    """
    command = [*BOUNDED, sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "the kernel refuses to confine a build: unshare: No space left on device\n"
    assert done.stderr.splitlines()[-1].startswith(f"{MachineError.__module__}.MachineError: the kernel refuses")
