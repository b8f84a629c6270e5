# SPDX-License-Identifier: Apache-2.0
"""Run a command and, whatever happens, leave no process of it behind.

``python -I -S guard.py [--timeout SECONDS] [--processes N] [--memory BYTES] -- command...``; only the standard library,
because it must start at once. The guard is the sub-reaper of all that the command starts, daemons and other sessions
included. It kills them all when the command ends, at the timeout, when they are more than N or have more memory, on
SIGTERM or SIGINT, and when its standard input closes: that pipe is the lifeline of whoever started it, so
a SIGKILL of that one ends the command too. The command's standard input is empty.

It counts, because the kernel's own limits don't: RLIMIT_NPROC is for all that a user runs and not for root at all,
RLIMIT_AS is for one process, and control groups are not everybody's to make.

Exit codes: the command's own (128 + n after signal n), and 122 too many processes, 123 too much memory, 124 timeout,
125 lifeline closed, 126 asked to stop. ``--status FILE`` gets one word for what ended it: ``ended``, ``processes``,
``memory``, ``timeout``, ``abandoned`` or ``stopped``.
"""

# importing pathlib would double the start-up time
# ruff: noqa: PTH110, PTH208
import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Iterable

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
EXIT_CODES = {"processes": 122, "memory": 123, "timeout": 124, "abandoned": 125, "stopped": 126}
LOOK = 0.25  # seconds between two looks at the limits; one takes a hundredth of that with 100 processes
PAGE = os.sysconf("SC_PAGE_SIZE")
GIVE_UP = (
    60.0  # seconds after which processes that can't be killed (uninterruptible, another user's) are left and named
)


def children(pid: int) -> list[int]:
    """Return the processes whose parent is ``pid``, by any of its threads."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found.extend(int(word) for word in file.read().split())
    except FileNotFoundError:
        if os.path.exists(f"/proc/{pid}/task") and not os.path.exists("/proc/thread-self/children"):
            return children_by_scan(pid)  # a kernel without CONFIG_PROC_CHILDREN
    except (ProcessLookupError, PermissionError):
        pass
    return found


def children_by_scan(pid: int) -> list[int]:
    """Do what ``children`` does by reading the parent of every process."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as file:
                if int(file.read().rpartition(")")[2].split()[1]) == pid:
                    found.append(int(name))
    return found


def descendants(pid: int, most: int = sys.maxsize) -> list[int]:
    """Return all processes below ``pid``, parents first; with ``most`` no more than tells that they are too many."""
    found = children(pid)
    for child in found:  # grows while it is walked
        if len(found) > most:
            break
        found.extend(children(child))
    return found


def resident(pids: Iterable[int]) -> int:
    """Return the bytes that processes have; what several have of one fork counts for each. Quick."""
    pages = 0
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/statm") as file:  # it may be gone
            _, total, of_files = file.read().split()[:3]
            pages += int(total) - int(of_files)
    return pages * PAGE


def proportional(pids: Iterable[int]) -> int:
    """Return the bytes that processes have; what several have counts once. A millisecond for each."""
    kilobytes = 0
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as file:
            kilobytes += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return kilobytes * 1024


def exceeded(most_processes: int, most_memory: int) -> str:
    """Return the word for the limit that is exceeded, "" for none."""
    found = descendants(os.getpid(), most_processes)
    if len(found) > most_processes:
        return "processes"
    return "memory" if resident(found) > most_memory and proportional(found) > most_memory else ""


def reap(main: int | None = None) -> int | None:
    """Collect every child that has ended; return the wait status of ``main`` if it is among them."""
    status = None
    while True:
        try:
            pid, result = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == 0:
            return status
        if pid == main:
            status = result


def kill_all() -> list[int]:
    """Kill everything below this process until nothing is left; return what could not be killed.

    They are stopped first, all of them: what is stopped can't fork, so a chain of forks can't outrun the killing.
    """
    me = os.getpid()
    deadline = time.monotonic() + GIVE_UP
    stopped: set[int] = set()
    while (new := set(descendants(me)) - stopped) and time.monotonic() < deadline:
        stop_groups(new)
        send(new, signal.SIGSTOP)
        stopped |= new
    rounds = 0
    while True:
        left = descendants(me)
        if not left or time.monotonic() > deadline:
            return left
        send(left, signal.SIGKILL)
        reap()
        rounds += 1
        if rounds > 100:  # not at once: a chain of forks is caught by being quick
            time.sleep(0.01)


def stop_groups(pids: Iterable[int]) -> None:
    """Stop the process groups of processes: one call stops those, too, that are just being forked."""
    groups = set()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            groups.add(os.getpgid(pid))
    for group in groups - {os.getpgrp()}:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGSTOP)


def send(pids: Iterable[int], number: int) -> None:
    """Send a signal to each process; those that are gone, or another user's, are passed over."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def yield_memory() -> None:
    """Where memory runs out before the next look, let the kernel kill this process and its children, nobody else."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")


def start(command: list[str], libc: ctypes.CDLL) -> int:
    """Start the command in a session of its own, with empty input, killed with this process; return its id."""
    me = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != me:  # the guard died before prctl
            os._exit(127)
        os.setsid()
        yield_memory()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"guard: {command[0]} can't be started: {error}\n".encode())
    finally:
        os._exit(127)


def watch(main: int, wakeup: int, deadline: float, most_processes: int, most_memory: int) -> tuple[str, int | None]:
    """Wait until something ends the command; return the word for it and the command's wait status, if it ended."""
    lifeline = 0
    look = time.monotonic()
    while True:
        status = reap(main)
        if status is not None:
            return "ended", status
        now = time.monotonic()
        if now >= deadline:
            return "timeout", None
        if now >= look:  # not each time that a child ends
            if word := exceeded(most_processes, most_memory):
                return word, None
            look = time.monotonic() + LOOK
        ready, _, _ = select.select([lifeline, wakeup], [], [], max(0.0, min(look, deadline) - now))
        if lifeline in ready and not os.read(lifeline, 4096):
            return "abandoned", None
        if wakeup in ready:
            numbers = os.read(wakeup, 4096)
            if signal.SIGTERM in numbers or signal.SIGINT in numbers:
                return "stopped", None


def arm_signals() -> int:
    """Turn SIGTERM, SIGINT and SIGCHLD into bytes on a pipe; return its reading end."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    return reading


def parse(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return the options, by name, and the command."""
    options = {}
    while arguments and arguments[0] != "--":
        option, value, *arguments = arguments
        if option not in ("--timeout", "--processes", "--memory", "--status"):
            raise SystemExit(f"guard: unknown option {option}")
        options[option.removeprefix("--")] = value
    return options, arguments[1:]


def main(arguments: list[str]) -> int:
    """Do what the module's docstring says; return the exit code."""
    options, command = parse(arguments)
    if not command:
        raise SystemExit("guard: no command")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise SystemExit("guard: this kernel has no sub-reapers")
    with contextlib.suppress(PermissionError):  # it leads a session already when started so
        os.setsid()
    wakeup = arm_signals()
    pid = start(command, libc)
    deadline = time.monotonic() + float(options.get("timeout", "inf"))
    most_processes, most_memory = (int(options.get(name, sys.maxsize)) for name in ("processes", "memory"))
    word, status = watch(pid, wakeup, deadline, most_processes, most_memory)
    left = kill_all()
    if left:
        os.write(2, f"guard: could not kill {' '.join(map(str, left))}\n".encode())
    if "status" in options:
        with open(options["status"], "w") as file:
            file.write(word)
    if status is None:
        return EXIT_CODES[word]
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
