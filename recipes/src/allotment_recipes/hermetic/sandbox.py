# SPDX-License-Identifier: Apache-2.0
"""Runs a build's programs in namespaces of their own: no network, few folders, and nothing that outlives them.

One unshare of users, mounts, network, processes, IPC and the host's name, by root and by everybody else alike:

    the caller      writes the maps of users, and waits
      a guard       is in the new namespaces; ends with the caller
        a first     process of the namespace: arranges the folders, waits for all; ends with the guard
          the program

When the first process ends the kernel ends all others of its namespace, also those in the background.
"""

import contextlib
import functools
import os
import select
import signal
import socket
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn, TypeAlias

from allotment.errors import AllotmentError, MachineError
from allotment_recipes.forking import forked
from allotment_recipes.hermetic import kernel
from allotment_recipes.hermetic.root import Root, is_of_the_system, secrets

_NAMESPACES: Final = (
    kernel.NEW_USER | kernel.NEW_MOUNTS | kernel.NEW_NETWORK | kernel.NEW_PROCESSES | kernel.NEW_IPC | kernel.NEW_NAME
)
Start: TypeAlias = "Callable[[], subprocess.Popen[bytes] | _Forked]"
Heard: TypeAlias = tuple[int, Callable[[], object]]  # a file, and what is called whenever it can be read
_READY, _GO, _FAILED, _NOT_STARTED, _ENDED = b"r", b"g", b"!", b"?", b"="


@dataclass(frozen=True)
class Sandbox:
    """What a build sees beside the system's compilers and libraries."""

    writable: Sequence[Path]
    visible: Sequence[Path] = ()  # to be read only; those that aren't there are left out
    programs: Path | None = None  # folder that takes the place of HOST_FOLDERS; links in it lead to real_programs
    whole: Sequence[Path] = ()  # programs of the machine that know things by where they are: no links
    instead: Sequence[tuple[Path, Path]] = ()  # folders that may be written to, and in the place of which they are

    def run(
        self,
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        files: tuple[int, int, int],
        *,
        keep: Sequence[int] = (),
        timeout: float | None = None,
        is_interactive: bool = False,
        heard: "Heard | None" = None,
    ) -> int:
        """Run a program to its end; return its exit code, or below zero the signal that killed it.

        ``files`` are what it reads and its two outputs; it keeps those of ``keep`` as well. TimeoutError is raised when
        it has not ended after ``timeout`` seconds, and it is killed. Only if it ``is_interactive`` has it our terminal.
        """
        root = self._root()

        def start() -> "subprocess.Popen[bytes]":
            for number in (signal.SIGINT, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)
            has_terminal = is_interactive and os.isatty(files[0])
            return subprocess.Popen(
                words, cwd=folder, env=dict(environment), stdin=files[0], stdout=files[1], stderr=files[2],
                pass_fds=keep, start_new_session=not is_interactive,  # also a process group: it can't send ours signals
                preexec_fn=_take_terminal if has_terminal else None,
            )  # fmt: skip

        return _run(root.enter, start, timeout, heard)

    def call(self, work: Callable[[], object], keep: Sequence[int], heard: "Heard | None" = None) -> int:
        """Call a function in a process of its own to its end, as ``run`` does a program; it reads nothing.

        Of what is open here it has the outputs and ``keep``.
        """

        def child() -> None:
            os.setsid()
            for number in (signal.SIGINT, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)
            _close_all_but({1, 2, *keep})
            kernel.lower_privileges()
            work()

        return _run(self._root().enter, lambda: _Forked(forked(child)), None, heard)

    def _root(self) -> Root:
        """Look for all paths now: links lead elsewhere when the root is another one."""
        found: dict[Path, tuple[Path, bool]] = {}
        folders = [path.resolve() for path in self.writable]
        writable = [path for path in self.writable if not any(place in path.resolve().parents for place in folders)]
        for paths, may_write in ((self.visible, False), (writable, True)):
            for path in paths:
                real = path.resolve()
                if real.exists() and (may_write or not is_of_the_system(real)):
                    found[real] = (real, may_write)
                    found.setdefault(path, (real, may_write))
        for source, target in self.instead:
            found[target] = (source.resolve(), True)
        outer_first = sorted(found.items(), key=lambda item: len(item[0].parts))
        places = tuple((source, target, may_write) for target, (source, may_write) in outer_first)
        programs = self.programs.resolve() if self.programs is not None else None
        whole = tuple((path.resolve(), path) for path in self.whole)
        return Root(places, programs, whole, secrets(Path("/etc")))


@functools.cache
def refusal() -> str:
    """Return why this machine can't confine builds; empty when it can."""
    try:
        with tempfile.TemporaryDirectory(prefix="allotment-") as folder, open(os.devnull, "r+b") as file:
            Sandbox([Path(folder)]).run(["/bin/sh", "-c", ":"], Path(folder), {}, (file.fileno(),) * 3)
    except (MachineError, OSError) as error:
        return error.what if isinstance(error, MachineError) else str(error)
    return ""


def call_with_mounts(mounts: Mapping[Path, Path], function: Callable[[], object]) -> None:
    """Call a function in a child for which, and for all that it starts, folders stand in the places of others.

    AllotmentError is raised with the text of what it raised.
    """
    answer, status = _fork(lambda channel: _call(channel, mounts, function))
    if answer.startswith(_FAILED):
        raise AllotmentError(answer[1:].decode(errors="replace").removesuffix("."))
    if not answer.startswith(_ENDED):
        raise MachineError(f"a process that builds a part has ended with {status}")


@dataclass(frozen=True)
class _Forked:
    pid: int


def _run(arrange: Callable[[], None], start: Start, timeout: float | None, heard: Heard | None) -> int:
    answer, status = _fork(lambda channel: _guard(channel, arrange, start), timeout, heard)
    if answer.startswith(_ENDED):
        return int(answer[1:])
    if answer.startswith(_NOT_STARTED):
        raise OSError(int(answer[1:]), os.strerror(int(answer[1:])))
    if answer.startswith(_FAILED):
        raise MachineError(f"the kernel refuses to confine a build: {answer[1:].decode(errors='replace')}")
    return status or -signal.SIGKILL  # something has killed the processes between


def _fork(
    child: Callable[[socket.socket], NoReturn], timeout: float | None = None, heard: Heard | None = None
) -> tuple[bytes, int]:
    """Run ``child`` in a new process that ends with us; return what it told last, and its exit code.

    It tells when it is in a new namespace of users, and waits then until the maps of these are written.
    """
    kernel.load()
    ours, theirs = socket.socketpair()
    ours.settimeout(timeout)
    with ours:
        parent = os.getpid()
        with theirs:
            pid = forked(lambda: _begin(theirs, parent, child))
        try:
            answer = _converse(ours, pid, heard)
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            raise
        finally:
            _, status = os.waitpid(pid, 0)
    return answer, os.waitstatus_to_exitcode(status)


def _converse(ours: socket.socket, pid: int, heard: Heard | None) -> bytes:
    first = ours.recv(1)
    if first == _READY:
        _write_maps(pid)
        ours.sendall(_GO)
        first = b""
    pieces = [first]
    while True:
        if heard is not None:
            _hear(ours, heard)
        piece = ours.recv(4096)
        pieces.append(piece)
        if not piece:
            return b"".join(pieces)


def _hear(ours: socket.socket, heard: Heard) -> None:
    """Take all that can be read, until there is an answer."""
    handle, take = heard
    while True:
        ready = select.select([handle, ours.fileno()], [], [])[0]
        if handle not in ready:
            return
        take()


def _write_maps(pid: int) -> None:
    """Let everybody keep his number; only root may say so of others than himself."""
    folder = Path("/proc", str(pid))
    if os.geteuid() == 0:
        with contextlib.suppress(PermissionError):
            for name in ("uid_map", "gid_map"):
                ranges = (line.split() for line in Path("/proc/self", name).read_text().splitlines())
                (folder / name).write_text("".join(f"{inside} {inside} {count}\n" for inside, _, count in ranges))
            return
    (folder / "setgroups").write_text("deny")
    (folder / "uid_map").write_text(f"{os.geteuid()} {os.geteuid()} 1")
    (folder / "gid_map").write_text(f"{os.getegid()} {os.getegid()} 1")


def _begin(channel: socket.socket, parent: int, child: Callable[[socket.socket], NoReturn]) -> None:
    """Be a process of our own kind no more."""
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        for number in (signal.SIGINT, signal.SIGQUIT):  # of the terminal: the program has got it too
            signal.signal(number, signal.SIG_IGN)
        kernel.die_with_parent(signal.SIGKILL)
        if os.getppid() == parent:
            child(channel)
    except BaseException as error:  # all of it is to be told
        _fail(channel, error)


def _enter(channel: socket.socket, namespaces: int) -> None:
    kernel.unshare(namespaces)
    channel.sendall(_READY)
    if channel.recv(1) != _GO:
        os._exit(1)


def _guard(channel: socket.socket, arrange: Callable[[], None], start: Start) -> NoReturn:
    """Be the process that leads into the namespaces."""
    _enter(channel, _NAMESPACES)
    pid = forked(lambda: _first(channel, arrange, start))
    kernel.hide_memory()
    channel.close()
    os.waitpid(pid, 0)
    os._exit(0)


def _call(channel: socket.socket, mounts: Mapping[Path, Path], function: Callable[[], object]) -> NoReturn:
    _enter(channel, kernel.NEW_USER | kernel.NEW_MOUNTS)
    kernel.mount("", "/", "", kernel.RECURSIVE | kernel.PRIVATE)
    for source, target in mounts.items():
        kernel.mount(source, target, "", kernel.BIND)
    try:
        function()
    except (AllotmentError, OSError):
        raise
    except Exception:
        traceback.print_exc()
        raise
    channel.sendall(_ENDED)
    os._exit(0)


def _first(channel: socket.socket, arrange: Callable[[], None], start: Start) -> None:
    try:
        kernel.die_with_parent(signal.SIGKILL)
        if _is_left(channel):
            return
        kernel.hide_memory()
        socket.sethostname("localhost")
        kernel.start_loopback()
        arrange()
        kernel.drop_privileges()
        try:
            program = start()
        except OSError as error:
            channel.sendall(_NOT_STARTED + str(error.errno).encode())
            return
        while True:
            pid, status = os.wait()
            if pid == program.pid:
                channel.sendall(_ENDED + str(os.waitstatus_to_exitcode(status)).encode())
                return
    except BaseException as error:  # as above
        _fail(channel, error)


def _is_left(channel: socket.socket) -> bool:
    """Whether the caller has ended, and the guard with him, before the kernel was told to let us end then as well."""
    try:
        return not channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False


def _fail(channel: socket.socket, error: BaseException) -> NoReturn:
    with contextlib.suppress(OSError):
        channel.sendall(_FAILED + str(getattr(error, "strerror", None) or error).encode())
    os._exit(1)


def _take_terminal() -> None:
    """A shell goes back to the group it began in, which must have a number here."""
    os.setpgrp()
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(0, os.getpgrp())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)


def _close_all_but(kept: Collection[int]) -> None:
    """Let files lead nowhere; they stay open as numbers, which objects of the process before still know."""
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for file in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        if file not in kept and file != nothing:
            with contextlib.suppress(OSError):  # that of the list itself
                os.dup2(nothing, file, inheritable=file == 0)
