# SPDX-License-Identifier: Apache-2.0
"""Prepare what a service asks for, then become the service.

    python -m allotment_recipes.programs.launch [OPTION]... -- PROGRAM [WORD]...

Without ``--reopen-on`` the program takes this process over, so that the supervisor sees the service itself. With it
this process stays, because somebody must hold the log files: it forwards signals, ends when the program ends, with the
program's status, and takes the program with it when it is killed.
"""

import argparse
import contextlib
import ctypes
import fcntl
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Final, NoReturn

_INTERVAL: Final = 0.05  # seconds between two looks at the files that are waited for
_PIECE: Final = 1 << 16  # bytes
_LOG_MODE: Final = 0o640
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000  # linux/sched.h
_MS_NOSUID, _MS_NODEV, _MS_REC, _MS_PRIVATE = 2, 4, 1 << 14, 1 << 18  # linux/mount.h
_FORWARDED: Final = ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "ALRM", "WINCH", "CONT", "TSTP")
CPU_REQUESTS: Final = ".slapos-cpu-exclusive"  # in HOME: one process number a line; nodes of SlapOS read it


class LaunchError(Exception):
    """The service can't be started as it asks for."""


def main(arguments: list[str] | None = None) -> int:
    """Do what the options say, and become the program; return only when something is in the way."""
    words = sys.argv[1:] if arguments is None else arguments
    end = words.index("--") if "--" in words else len(words)
    parser = _parser()
    options, command = parser.parse_args(words[:end]), words[end + 1 :]
    if not command:
        parser.error("no program after --")
    try:
        _launch(options, command)
    except LaunchError as error:
        _say(str(error))
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="launch", usage="launch [OPTION]... -- PROGRAM [WORD]...", allow_abbrev=False)
    parser.add_argument("--wait-for", action="append", default=[], metavar="FILE")
    parser.add_argument("--pidfile", metavar="FILE")
    parser.add_argument("--tmpfs", action="append", default=[], nargs=2, metavar=("SIZE", "FOLDER"))
    parser.add_argument("--reserve-cpu", action="store_true")
    parser.add_argument("--ignore", action="append", default=[], metavar="SIGNAL")
    parser.add_argument("--stdout", metavar="FILE")
    parser.add_argument("--stderr", metavar="FILE")
    parser.add_argument("--reopen-on", metavar="SIGNAL")
    return parser


def _launch(options: argparse.Namespace, command: list[str]) -> NoReturn:
    if options.pidfile:  # first: a second start is told at once, not when the files have come
        claim(Path(options.pidfile))
    wait_for(options.wait_for)
    if options.reserve_cpu:
        _reserve_cpu()
    if options.tmpfs:
        _mount_private(options.tmpfs)
    for name in options.ignore:
        signal.signal(signal.Signals[f"SIG{name}"], signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and what is ignored stays so in the program
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    files = [path for path in (options.stdout, options.stderr) if path]
    logs = {path: Log(path) for path in files}
    if options.reopen_on:
        kept = [None if path is None else logs[path] for path in (options.stdout, options.stderr)]
        Keeper(command, kept[0], kept[1], signal.Signals[f"SIG{options.reopen_on}"]).run()
    for path, number in ((options.stdout, 1), (options.stderr, 2)):
        if path:
            os.dup2(logs[path].handle, number)
    _become(command)


def _become(command: list[str]) -> NoReturn:
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise LaunchError(f"{command[0]} can't be run: {error.strerror}") from error


def wait_for(paths: list[str]) -> None:
    """Return when all files are there; say once which ones are not."""
    missing = [path for path in paths if not os.path.exists(path)]  # noqa: PTH110 (many of us do this all the time)
    if missing:
        _say(f"waiting for {', '.join(missing)}")
    while missing:
        time.sleep(_INTERVAL)
        missing = [path for path in missing if not os.path.exists(path)]  # noqa: PTH110


def claim(path: Path) -> None:
    """Write our process number to ``path``; when the process that stands there lives, that is an error.

    A number alone may belong to another process by now: beside the file stands when ours began.
    """
    note = path.with_name(f".{path.name}.began")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(note, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "r+", errors="replace") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # two that start at once see each other
            pid, began = _owner(path), file.read(200).split()
            if pid and pid != os.getpid() and _lives(pid, path, began):
                raise LaunchError(f"{path}: it runs already, as process {pid}")
            file.seek(0)
            file.truncate()
            file.write(" ".join([str(os.getpid()), *_birth(os.getpid())]))
            file.flush()
            temporary = path.with_name(f".{path.name}.new")
            temporary.unlink(missing_ok=True)
            temporary.write_text(f"{os.getpid()}\n")
            temporary.replace(path)
    except OSError as error:
        raise LaunchError(f"{error.filename or path} can't be written: {error.strerror}") from error


def _owner(path: Path) -> int:
    try:
        return int(path.read_text()[:20])
    except (FileNotFoundError, ValueError):
        return 0


def _lives(pid: int, path: Path, began: list[str]) -> bool:
    birth = _birth(pid)
    if not birth:
        return False
    if began[:1] == [str(pid)]:
        return began[1:] == list(birth)
    # Another program wrote it: a process that is younger than the file is not the one that is meant.
    ticks = time.clock_gettime(time.CLOCK_BOOTTIME) - int(birth[1]) / os.sysconf("SC_CLK_TCK")
    return time.time() - ticks <= path.stat().st_mtime + 1.0


def _birth(pid: int) -> tuple[str, ...]:
    """Return the boot and the clock tick of it at which a process began; nothing when there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ()
    if fields[0] in "ZX":  # it has ended
        return ()
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip(), fields[19]


def _reserve_cpu() -> None:
    path = Path(os.environ.get("HOME", "."), CPU_REQUESTS)
    try:
        with path.open("a") as file:
            file.write(f"{os.getpid()}\n")
    except OSError as error:
        raise LaunchError(f"reserve-cpu: {path} can't be written: {error.strerror}") from error


def _mount_private(places: list[list[str]]) -> None:
    """Mount memory on the folders, for this process and its children only."""
    library = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()

    def call(what: str, result: int) -> None:
        if result != 0:
            reason = os.strerror(ctypes.get_errno())
            raise LaunchError(f"private-tmpfs: {what}: {reason}. Let this kernel give namespaces to users, or drop it")

    call("no namespace", library.unshare(_CLONE_NEWNS | (_CLONE_NEWUSER if user else 0)))
    try:
        if user:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        call("mounts stay shared", library.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))
        for size, folder in places:
            Path(folder).mkdir(parents=True, exist_ok=True)
            settings = f"size={size},mode=0700,uid={user},gid={group}".encode()
            flags = _MS_NOSUID | _MS_NODEV
            call(f"{size} on {folder}", library.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", flags, settings))
    except OSError as error:
        raise LaunchError(f"private-tmpfs: {error.filename}: {error.strerror}") from error


class Log:
    """A log file that can be opened anew; what a full disk refuses is dropped and counted, the service goes on."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lost = 0  # bytes
        try:
            self.handle = self._open()
        except OSError as error:
            raise LaunchError(f"{path} can't be opened: {error.strerror}") from error

    def reopen(self) -> None:
        """Open the file that has the name now; when there can be none, go on with the one that is open."""
        try:
            handle = self._open()
        except OSError as error:
            _say(f"{self._path} can't be opened again: {error.strerror}")
            return
        os.close(self.handle)
        self.handle = handle

    def write(self, data: bytes) -> None:
        """Append; a note tells how much is missing before it."""
        try:
            if self._lost:
                self._write(f"\n[launch: {self._lost} bytes were lost: the disk was full]\n".encode())
                self._lost = 0
            self._write(data)
        except OSError:
            self._lost += len(data)

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.handle, data) :]

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _LOG_MODE)


class Keeper:
    """Runs the program as a child and writes what it prints, so that the files can change under it."""

    def __init__(self, command: list[str], stdout: Log | None, stderr: Log | None, reopen_on: signal.Signals) -> None:
        self._command = command
        self._logs = (stdout, stderr)
        self._reopen_on = reopen_on
        self._pid = 0
        self._pipes: dict[int, Log] = {}

    def run(self) -> NoReturn:
        """Stay until the program ends; then end as it did."""
        forwarded = {signal.Signals[f"SIG{name}"] for name in _FORWARDED}
        ours = {number for number in forwarded if signal.getsignal(number) != signal.SIG_IGN} | {self._reopen_on}
        everything = ours | {signal.SIGCHLD}
        # Blocked until the child has its own handlers: what comes in between is not lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, everything)
        woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in everything:
            signal.signal(number, _note)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._start(everything)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, everything)
        _end_as(self._serve(woken))

    def _start(self, blocked: set[signal.Signals]) -> None:
        parent, ends = os.getpid(), self._make_pipes()
        self._pid = os.fork()
        if self._pid == 0:
            status = 1
            try:
                ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != parent:
                    os._exit(1)  # it went before the call
                for target, end in ends.items():
                    os.dup2(end, target)
                signal.set_wakeup_fd(-1)
                for number in blocked:
                    signal.signal(number, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
                _become(self._command)
            except LaunchError as error:
                _say(str(error))
                status = 127
            finally:
                os._exit(status)
        for end in set(ends.values()):
            os.close(end)

    def _make_pipes(self) -> dict[int, int]:
        """Return which end of a pipe becomes which of the child's files; one file for both is one pipe."""
        ends: dict[int, int] = {}
        of_log: dict[int, int] = {}
        for target, log in enumerate(self._logs, start=1):
            if log is None:
                continue
            if id(log) not in of_log:
                reader, of_log[id(log)] = os.pipe2(os.O_CLOEXEC)
                os.set_blocking(reader, False)
                self._pipes[reader] = log
            ends[target] = of_log[id(log)]
        return ends

    def _serve(self, woken: int) -> int:
        while True:
            ready, _, _ = select.select([woken, *self._pipes], [], [])
            for pipe in ready:
                if pipe != woken:
                    self._copy(pipe)
            if woken not in ready:
                continue
            for number in os.read(woken, _PIECE):
                if number == self._reopen_on:
                    self._rotate()
                elif number != signal.SIGCHLD:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(self._pid, number)
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._drain()
                return status

    def _rotate(self) -> None:
        self._drain()  # what was printed before the signal belongs to the file before it
        for log in set(self._pipes.values()):
            log.reopen()

    def _drain(self) -> None:
        for pipe in list(self._pipes):
            for _ in range(1024):  # a child of the program may print for ever
                if not self._copy(pipe):
                    break

    def _copy(self, pipe: int) -> bool:
        """Copy a piece; False when there is none now."""
        try:
            data = os.read(pipe, _PIECE)
        except BlockingIOError:
            return False
        if data:
            self._pipes[pipe].write(data)
            return True
        os.close(pipe)
        del self._pipes[pipe]
        return False


def _note(number: int, frame: object) -> None:
    """Let the wake-up pipe tell."""


def _end_as(status: int) -> NoReturn:
    """End with the status of the program: its exit code, or the signal that killed it."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the program has left its own
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.Signals(-code)})
        os.kill(os.getpid(), -code)
    os._exit(code)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"launch: {text}\n".encode())


if __name__ == "__main__":
    sys.exit(main())
