# SPDX-License-Identifier: Apache-2.0
"""The lock of a part: whoever builds it holds it, with a name in it that those read who wait."""

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

Idle: TypeAlias = Callable[[], contextlib.AbstractContextManager[None]]  # within it one waits for another process


@contextlib.contextmanager
def wait_for_lock(path: Path, builder: str, say: Callable[[str], None], idle: Idle) -> Iterator[int]:
    """Take the lock of the part that ``path`` is named for, and say for whom one waits.

    ``builder`` is what others read who wait for us; we wait within ``idle``.
    """
    name = path.name
    with try_lock(path) as lock:
        if lock is not None:
            yield _signed(lock, builder)
            return
    owner = path.read_text(errors="replace").strip() or "another process"
    if _has_ended(owner):
        say(f"waiting for {name}: {owner} has ended, but a program that it started still runs: see 'fuser {path}'")
    else:
        say(f"waiting for {name}, which is being built by {owner}")
    began = time.monotonic()
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        with idle():
            fcntl.flock(handle, fcntl.LOCK_EX)
        say(f"waited {time.monotonic() - began:.1f} s for {name}")
        yield _signed(handle, builder)
    finally:
        os.close(handle)


@contextlib.contextmanager
def try_lock(path: Path) -> Iterator[int | None]:
    """Take a lock, or tell by None that somebody else has it."""
    handle = _opened(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        yield None
        return
    try:
        yield handle
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    """Open a lock; one that root makes, for a collection perhaps, is of the user who owns the store."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        handle = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return os.open(path, flags)
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):  # root of a namespace that does not know that user
            owner = path.parent.stat()
            os.fchown(handle, owner.st_uid, owner.st_gid)
    return handle


def _signed(lock: int, builder: str) -> int:
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"process {os.getpid()} for {builder}\n".encode(), 0)
    return lock


def _has_ended(owner: str) -> bool:
    match = re.match(r"process (\d+) ", owner)
    return match is not None and not Path(f"/proc/{match[1]}").exists()
