# SPDX-License-Identifier: Apache-2.0
"""What the launcher's processes need of Linux: adopt orphans, die with the parent, stay small, leave nobody behind."""

import contextlib
import ctypes
import os
import resource
import signal
import time
from collections.abc import Container
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_STACK = 8 << 20  # bytes of a thread's stack where none are set
_libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Make this process the parent of its descendants whose own parents end."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with(parent: int) -> None:
    """Have this process killed when ``parent``, the pid of its single-threaded parent, ends or has ended already."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def limit_memory(limit: int, threads: int) -> None:
    """Refuse this process and its children more private memory than now and ``limit`` bytes; for good.

    The stacks of ``threads`` come on top: they count although hardly any of them is ever used.
    """
    stack = resource.getrlimit(resource.RLIMIT_STACK)[0]
    stack = _STACK if stack == resource.RLIM_INFINITY else stack
    most = _data() + limit + threads * stack
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def kill_children(seconds: float = 5.0) -> None:
    """Kill and reap all children until none is left; after :func:`adopt_orphans` that is all descendants.

    Whole process groups are killed at once, so that one which forks faster than it can be looked at ends too. What
    can't be killed (it hangs in the kernel) is given up after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    own = os.getpgrp()
    while _reap() and time.monotonic() < deadline:
        found = _descendants()
        for kill, numbers in ((os.killpg, {group for _, group in found} - {own}), (os.kill, {pid for pid, _ in found})):
            for number in numbers:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    kill(number, signal.SIGKILL)
        time.sleep(0.002)


def kill_others(spared: Container[int]) -> None:
    """Kill the children that are not ``spared``, with their groups, once; theirs then come here, for the next time."""
    own = os.getpgrp()
    for pid in _children():
        if pid not in spared:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                group = os.getpgid(pid)
                os.kill(pid, signal.SIGKILL)
                if group != own:
                    os.killpg(group, signal.SIGKILL)


def _children() -> list[int]:
    """Return the pids of this process's own children; it has one thread."""
    pid = os.getpid()
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:  # a kernel that does not list them
        return [child for child, (parent, _) in _processes().items() if parent == pid]


def _reap() -> bool:
    """Reap the children that have ended; return whether others are left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _processes() -> dict[int, tuple[int, int]]:
    """Return parent and process group of each process, from /proc."""
    found: dict[int, tuple[int, int]] = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):  # noqa: PTH208 (three times as fast)
        with contextlib.suppress(OSError):
            # pid (name) state parent group ...; the name may hold spaces and parentheses
            after = Path("/proc", name, "stat").read_bytes().rpartition(b")")[2].split()
            found[int(name)] = int(after[1]), int(after[2])
    return found


def _descendants() -> list[tuple[int, int]]:
    """Return pid and process group of this process's descendants."""
    processes = _processes()
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in processes.items():
        children.setdefault(parent, []).append(pid)
    found = children.get(os.getpid(), [])
    for pid in found:  # it grows meanwhile
        found.extend(children.get(pid, ()))
    return [(pid, processes[pid][1]) for pid in found]


def _data() -> int:
    """Return the bytes of private writable memory of this process, as RLIMIT_DATA counts them."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) << 10
    return 0
