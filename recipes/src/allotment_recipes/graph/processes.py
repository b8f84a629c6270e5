# SPDX-License-Identifier: Apache-2.0
"""Processes that end with the one that began them, and what a killed one leaves behind."""

import contextlib
import ctypes
import os
import signal
from collections.abc import Collection
from pathlib import Path
from typing import Final

_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_SET_CHILD_SUBREAPER: Final = 36


def die_with(parent: int) -> None:
    """Let the kernel kill this process when its parent ends, however that does."""
    ctypes.CDLL(None).prctl(_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it went before the call


class Adoption:
    """Makes what our children leave behind, when they end, children of this process, until ``close``."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._others = frozenset(_children().get(os.getpid(), ()))  # not of the build
        self._library.prctl(_SET_CHILD_SUBREAPER, 1)

    def kill_strays(self, known: Collection[int]) -> None:
        """Kill all that ended children have left, with what these have started; ``known`` are the children at work."""
        _kill_all(self._others.union(known))

    def close(self) -> None:
        self._library.prctl(_SET_CHILD_SUBREAPER, 0)


def _kill_all(but: Collection[int]) -> None:
    """Kill them until there are none: what they start meanwhile becomes ours when they end."""
    while True:
        children = _children()
        todo = [pid for pid in children.get(os.getpid(), ()) if pid not in but]
        if not todo:
            return
        ours = set(todo)
        while todo:
            pid = todo.pop()
            todo += children.get(pid, ())
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for pid in ours:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children() -> dict[int, list[int]]:
    """Map every process to those that it has started."""
    found: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):  # it has ended meanwhile
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            found.setdefault(parent, []).append(int(path.name))
    return found


def memory_kills() -> int:
    """Return how often the kernel has killed a process for lack of memory; 0 where it does not say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
