# SPDX-License-Identifier: Apache-2.0
"""The few system calls that Python 3.11 has no function for: namespaces and mounts."""

import ctypes
import fcntl
import functools
import os
import socket
import struct
from pathlib import Path
from typing import Any, Final

# unshare(2); numbers are the same on all architectures.
NEW_MOUNTS, NEW_NAME, NEW_IPC = 0x0002_0000, 0x0400_0000, 0x0800_0000
NEW_USER, NEW_PROCESSES, NEW_NETWORK = 0x1000_0000, 0x2000_0000, 0x4000_0000
# mount(2)
NO_SUID, NO_DEVICES, NO_PROGRAMS, BIND, RECURSIVE, PRIVATE = 2, 4, 8, 0x1000, 0x4000, 0x4_0000
_DETACH: Final = 2  # umount2(2)
_MOUNT_SETATTR, _AT_CURRENT, _AT_RECURSIVE, _READ_ONLY = 442, -100, 0x8000, 1  # mount_setattr(2), Linux 5.12
_DEATH_SIGNAL, _DUMPABLE, _DROP = 1, 4, 24  # prctl(2)
# capabilities(7): of files of any owner, and of other users' processes; none to mount, to trace or to set up networks.
_KEPT: Final = range(8)
_CAPABILITIES: Final = 0x2008_0522  # capset(2): version 3
_SET_FLAGS, _UP_AND_RUNNING = 0x8914, 0x41  # netdevice(7)


@functools.cache
def _library() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def load() -> None:
    """Find the functions now: a process that was forked is to do as little as possible."""
    _library()


def unshare(namespaces: int) -> None:
    """Leave namespaces for new ones; that of processes is for children only."""
    _check(_library().unshare(namespaces), "unshare")


def mount(source: Path | str, target: Path | str, kind: str, flags: int, settings: str = "") -> None:
    """Mount a file system, or with BIND a folder or file in another place."""
    texts = (os.fsencode(text) for text in (source, target, kind))
    code = _library().mount(*texts, ctypes.c_ulong(flags), os.fsencode(settings) or None)
    _check(code, f"mount {kind or 'part of the file system'} on {target}")


def make_read_only(target: Path, *, recursive: bool = True) -> None:
    """Let nobody write through this mount."""
    wanted = struct.pack("=QQQQ", _READ_ONLY, 0, 0, 0)
    flags = _AT_RECURSIVE if recursive else 0
    size = ctypes.c_size_t(len(wanted))
    code = _library().syscall(_MOUNT_SETATTR, _AT_CURRENT, os.fsencode(target), flags, wanted, size)
    _check(code, f"make {target} read-only")


def change_root(new: Path, old: Path) -> None:
    """Make the mount ``new`` the root; what was is then in the folder ``old`` of it."""
    _check(_library().pivot_root(os.fsencode(new), os.fsencode(old)), "change the root folder")


def unmount(target: Path) -> None:
    """Take a mount and all in it out of sight."""
    _check(_library().umount2(os.fsencode(target), _DETACH), f"unmount {target}")


def die_with_parent(signal: int) -> None:
    """Get a signal when the thread that forked us ends."""
    _check(_library().prctl(_DEATH_SIGNAL, signal), "prctl")


def hide_memory() -> None:
    """Let nobody in our namespaces trace us, or look at what we have open."""
    _check(_library().prctl(_DUMPABLE, 0, 0, 0, 0), "prctl")


def drop_privileges() -> None:
    """Leave the next program what root needs for files only: it could undo all that keeps it from the machine."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for number in range(last + 1):
        if number not in _KEPT:
            _check(_library().prctl(_DROP, number, 0, 0, 0), "prctl")


def lower_privileges() -> None:
    """Have no more of them than a program that is started now."""
    mask = sum(1 << number for number in _KEPT) if os.geteuid() == 0 else 0
    header, wanted = struct.pack("=Ii", _CAPABILITIES, 0), struct.pack("=6I", mask, mask, 0, 0, 0, 0)
    _check(_library().capset(header, wanted), "capset")


def start_loopback() -> None:
    """Bring up the only interface of a new network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP_AND_RUNNING))


def _check(code: int, what: str) -> None:
    if code != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
