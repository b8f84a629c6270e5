# SPDX-License-Identifier: Apache-2.0
"""One at a time: a lock of a folder that ends with the processes that hold it."""

import contextlib
import fcntl
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

from allotment.errors import AllotmentError

BUSY = 75  # exit code of a program that found somebody else at work, EX_TEMPFAIL of sysexits.h


class Busy(Exception):
    """Somebody else holds the lock."""


@contextlib.contextmanager
def locked(
    path: Path, *, is_folder: bool = False, is_shared: bool = False, is_inherited: bool = False
) -> Iterator[None]:
    """Hold the lock of a file, which is made when it is missing, or of a folder, or raise ``Busy`` at once.

    An inherited lock lasts until also the commands that were started meanwhile have ended: what a killed program left
    behind may still be writing.
    """
    if not is_folder:
        _refuse_strangers(path.parent)
        path.parent.mkdir(parents=True, exist_ok=True)
    kind = os.O_DIRECTORY if is_folder else os.O_CREAT
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | kind, 0o600)
    try:
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Busy(str(path)) from error
        os.set_inheritable(handle, is_inherited)
        yield
    finally:
        os.close(handle)


def _refuse_strangers(folder: Path) -> None:
    """Raise for any user but the instance's, also root: what that one writes the instance could not read any more."""
    while not folder.exists():
        folder = folder.parent
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = str(owner)
        raise AllotmentError(
            f"{folder} is user {name}'s, who alone may do this", f"Run it as {name}, not as another user"
        )
