# SPDX-License-Identifier: Apache-2.0
"""Files that are whole or not there: written aside, synced, renamed."""

import contextlib
import os
import secrets
import stat
from pathlib import Path


def write_bytes(path: Path, data: bytes, mode: int = 0o644, *, sync: bool = True) -> bool:
    """Write a file with exactly ``mode`` in one step; return False, writing nothing, when it is already so.

    ``sync=False`` leaves out the fsync where a lost file is simply made again.
    """
    try:
        status = path.lstat()
        if stat.S_ISREG(status.st_mode) and status.st_size == len(data) and path.read_bytes() == data:
            if stat.S_IMODE(status.st_mode) != mode:
                path.chmod(mode)
                return True
            return False
    except OSError:
        pass  # not there, or not readable: written anew below, which says what is wrong if that fails too
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            if sync:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return True


def write_link(path: Path, target: str) -> bool:
    """Make a symbolic link in one step, in place of a file or link; return False when it is already so."""
    with contextlib.suppress(OSError):  # not there, or no link: made anew below
        if os.readlink(path) == target:  # noqa: PTH115 (Path would take a './' out of it)
            return False
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    temporary.symlink_to(target)
    try:
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return True


def sync_file_system(folder: Path) -> None:
    """Bring all that was written to the disk in one call; a file at a time takes minutes for a large part."""
    import ctypes

    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if library.syncfs(handle) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(folder))
    finally:
        os.close(handle)


def read_limited(path: Path, limit: int) -> bytes | None:
    """Return a regular file's bytes, or None when it does not exist.

    For files that a tenant may have written: links are not followed, devices not opened, and more than ``limit``
    bytes are an error, as is anything that is not a regular file.
    """
    from allotment.errors import AllotmentError

    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AllotmentError(f"{path} can't be read: {error.strerror}", "It must be a regular file") from error
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise AllotmentError(f"{path} is not a regular file", "Remove it")
        with os.fdopen(handle, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    finally:
        os.close(handle)
    if len(data) > limit:
        raise AllotmentError(f"{path} is larger than {limit} bytes", "Make it smaller")
    return data
