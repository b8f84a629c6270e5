# SPDX-License-Identifier: Apache-2.0
"""Prepare what a service asks for, then become the service.

    python -m allotment_recipes.programs.launch [OPTION]... -- PROGRAM [WORD]...

Without ``--reopen-on`` the program takes this process over, so that the supervisor sees the service itself. With it
this process stays, because somebody must hold the log files: it forwards signals, ends when the program ends, with the
program's status, and takes the program with it when it is killed.
"""

import argparse
import ctypes
import fcntl
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final, NoReturn

from allotment_recipes.programs.keeper import Keeper, LaunchError, Log, become, say

_INTERVAL: Final = 0.05  # seconds between two looks at the files that are waited for
_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000  # linux/sched.h
_MS_NOSUID, _MS_NODEV, _MS_REC, _MS_PRIVATE = 2, 4, 1 << 14, 1 << 18  # linux/mount.h
CPU_REQUESTS: Final = ".slapos-cpu-exclusive"  # in HOME: one process number a line; nodes of SlapOS read it


def main(arguments: list[str] | None = None) -> int:
    """Do what the options say, and become the program; return only when something is in the way."""
    words = sys.argv[1:] if arguments is None else arguments
    end = words.index("--") if "--" in words else len(words)
    parser = _parser()
    options, command = parser.parse_args(words[:end]), words[end + 1 :]
    if not command:
        parser.error("no program after --")
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a traceback tells nobody anything here
    try:
        _launch(options, command)
    except LaunchError as error:
        say(str(error))
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
    become(command)


def wait_for(paths: list[str]) -> None:
    """Return when all files are there; say once which ones are not."""
    missing = [path for path in paths if not os.path.exists(path)]  # noqa: PTH110 (many of us do this all the time)
    if missing:
        say(f"waiting for {', '.join(missing)}")
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
    """Enter our number; those of processes that have ended go."""
    path = Path(os.environ.get("HOME", "."), CPU_REQUESTS)
    try:
        with path.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            numbers = [number for number in file.read().split() if number.isdecimal() and _birth(int(number))]
            file.truncate(0)
            file.writelines(f"{number}\n" for number in dict.fromkeys([*numbers, str(os.getpid())]))
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


if __name__ == "__main__":
    sys.exit(main())
