# SPDX-License-Identifier: Apache-2.0
"""The closure of a release: every file that it reads, as one archive whose bytes depend on nothing else."""

import io
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from allotment.errors import AllotmentError
from allotment_recipes.archive_limits import Rules, UnpackError
from allotment_recipes.unpack import safe_name as safe_member
from allotment_recipes.unpack import unpack as unpack_archive

SIZE_LIMIT: Final = 64 << 20  # bytes, of all files together
COUNT_LIMIT: Final = 10_000  # files
_IGNORED: Final = frozenset({"__pycache__", "test"})  # a release's tests are no part of what is deployed


class ClosureError(AllotmentError):
    """A file that a release reads, or an archive of them, can't be accepted."""


def is_ignored(name: str) -> bool:
    """Whether a file or folder of this name is no part of a release: its tests, what is hidden, what tools leave."""
    return name in _IGNORED or name.startswith(".") or name.endswith((".pyc", "~"))


def release_files(folder: Path) -> Iterator[Path]:
    """Yield every file of a release's own folder, but its tests, hidden files and what Python and editors leave."""
    for entry in sorted(os.scandir(folder), key=lambda item: item.name):
        if is_ignored(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from release_files(Path(entry.path))
        else:
            yield Path(entry.path)


def pack(root: Path, files: Iterable[Path]) -> bytes:
    """Return an uncompressed tar of ``files``, named relative to ``root``: sorted, without times or owners."""
    names = {_name(root, path): path for path in files}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(names):
            status = names[name].lstat()
            if not stat.S_ISREG(status.st_mode):
                raise ClosureError(f"{names[name]} is not a regular file", "Put a copy of the file in its place")
            data = names[name].read_bytes()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.mode = 0o755 if status.st_mode & 0o100 else 0o644
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def _name(root: Path, path: Path) -> str:
    try:
        return path.absolute().relative_to(root.absolute()).as_posix()
    except ValueError:
        raise ClosureError(f"{path} is outside {root}", "Move it into the tree, or give a larger root") from None


def unpack(archive: Path, folder: Path) -> None:
    """Unpack to ``folder``, which is replaced in one step; anything but plain files inside it is refused."""
    rules = Rules(size=SIZE_LIMIT, count=COUNT_LIMIT, links=False, times=False)
    try:
        unpack_archive(archive, folder, strip_top_level=False, rules=rules)
    except UnpackError as error:
        raise ClosureError(error.what, error.fix) from error


def safe_name(name: str, where: str) -> PurePosixPath:
    """Return a name in a release when it is a plain relative path; absolute names, ``..`` and the like are errors."""
    try:
        return safe_member(name, where)
    except UnpackError as error:
        raise ClosureError(error.what, error.fix) from error
