# SPDX-License-Identifier: Apache-2.0
"""What the launcher's processes need of Linux: adopt orphans, die with the parent, leave nobody behind."""

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Make this process the parent of its descendants whose own parents end."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with(parent: int) -> None:
    """Have this process killed when ``parent``, the pid of its single-threaded parent, ends or has ended already."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def kill_children(seconds: float = 5.0) -> None:
    """Kill and reap all children until none is left; after :func:`adopt_orphans` that is all descendants.

    A child that can't be killed (it hangs in the kernel) is given up after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while _reap() and time.monotonic() < deadline:
        for pid in _children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


def _reap() -> bool:
    """Reap the children that have ended; return whether others are left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _children() -> list[int]:
    """Return the pids of this process's children, from /proc."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):
                # pid (name) state parent ...; the name may hold spaces and parentheses
                after = (folder / "stat").read_bytes().rpartition(b")")[2].split()
                if int(after[1]) == os.getpid():
                    found.append(int(folder.name))
    return found
