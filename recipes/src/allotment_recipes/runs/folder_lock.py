# SPDX-License-Identifier: Apache-2.0
"""One run at a time in a folder."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from allotment.errors import AllotmentError


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a folder; two runs in one folder would undo each other."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise AllotmentError(f"{path} can't be opened: {error.strerror}", "It must be a regular file") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AllotmentError(f"another run is at work in {path.parent}", "Wait until it has ended") from None
        yield
    finally:
        os.close(handle)
