# SPDX-License-Identifier: Apache-2.0
"""Whom a process works as: what is a partition's is read, run and written only as the user that owns its folder."""

import contextlib
import ctypes
import os
import pwd
import stat
from pathlib import Path

from allotment.errors import AllotmentError

_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_libc = ctypes.CDLL(None, use_errno=True)


def become_owner(folder: Path, *, is_hidden: bool = False) -> None:
    """Become, for good, the user and group that own ``folder``; called before anything below it is opened.

    Without root a process can only be itself, and stays that. So does root where the folder is root's own: a node on
    which partitions have no users of their own runs all of them as itself. The folder's name must lead to it without
    a link at its end; FileNotFoundError says that it is not there. With ``is_hidden`` the user may not look into this
    process: for one that still has a caller's memory.
    """
    uid, gid = _owner(folder)
    if os.geteuid() != 0 or uid == 0:
        return
    if gid == 0:
        name = _user_name(uid)
        raise AllotmentError(f"{folder} belongs to {name}, but to root's group", f"chgrp it to a group of {name}")
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _verify(uid, gid)
    # No program that is started from here on gets more rights by its file's mode.
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    # A change of user hides a process's /proc folder from itself, and the process from the user.
    if not is_hidden:
        _prctl(_PR_SET_DUMPABLE, 1)


def _owner(folder: Path) -> tuple[int, int]:
    try:
        handle = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except NotADirectoryError as error:
        kind = "a link" if stat.S_ISLNK(os.lstat(folder).st_mode) else "no folder"
        raise AllotmentError(f"{folder} is {kind}", "A partition is a folder of its own") from error
    try:
        found = os.fstat(handle)
    finally:
        os.close(handle)
    return found.st_uid, found.st_gid


def _verify(uid: int, gid: int) -> None:
    """Raise unless this process is that user and nobody else, and can't become root again."""
    is_changed = os.getresuid() == (uid,) * 3 and os.getresgid() == (gid,) * 3 and not os.getgroups()
    for become in (lambda: os.setresuid(0, 0, 0), lambda: os.setresgid(0, 0, 0), lambda: os.setgroups([0])):
        with contextlib.suppress(PermissionError):
            become()
            is_changed = False
    if not is_changed:
        raise AllotmentError(f"this process can't become user {uid} for good", "Look at what restricts the node")


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise AllotmentError(f"prctl {option} is refused: {os.strerror(code)}", "Use a Linux that is not as old")


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
