# SPDX-License-Identifier: Apache-2.0
"""Unpack a revision's tar so that nothing in it can reach outside of the target folder.

The extractor is our own: ``tarfile.data_filter`` is missing from Debian 12's Python and incomplete in others.
"""

import posixpath
import shutil
import tarfile
from pathlib import Path
from typing import IO, Final

from allotment.errors import AllotmentError

MAX_BYTES: Final = 2 << 30  # of all files together
MAX_MEMBERS: Final = 200_000


class HostileArchiveError(AllotmentError):
    """An archive holds something that a revision's files can't hold."""


def unpack(archive: IO[bytes], target: Path, max_bytes: int = MAX_BYTES, max_members: int = MAX_MEMBERS) -> None:
    """Unpack an uncompressed tar into ``target``, which must not exist; a bad member stops it with an error.

    Files, folders and symbolic links that stay inside are accepted; nothing is ever written through a link.
    Owners are ignored; of the modes only the executable bit is kept.
    """
    target.mkdir(parents=True)
    size = members = 0
    try:
        with tarfile.open(fileobj=archive, mode="r|", errorlevel=2) as tar:
            for member in tar:
                size += max(0, member.size)
                members += 1
                if size > max_bytes or members > max_members:
                    raise HostileArchiveError(
                        f"the archive of the revision holds more than {max_bytes} bytes or {max_members} files",
                        "Remove what is not source from the repository",
                    )
                _extract(tar, member, target)
    except (tarfile.TarError, EOFError, UnicodeError, ValueError) as error:
        raise HostileArchiveError(f"the archive of the revision is damaged: {error}", "Fetch it again") from error


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    name = member.name.rstrip("/")
    if name in ("", "."):
        return
    path = _place(name, target)
    if member.isdir():
        path.mkdir(exist_ok=True)
    elif member.isreg():
        _refuse_existing(path, name)
        source = tar.extractfile(member)
        if source is None:
            raise _refused(name, "has no content")
        with path.open("xb") as file:
            shutil.copyfileobj(source, file)
        path.chmod(0o755 if member.mode & 0o100 else 0o644)
    elif member.issym():
        _refuse_existing(path, name)
        _check_link(name, member.linkname)
        path.symlink_to(member.linkname)
    else:
        raise _refused(name, "is neither a file, a folder nor a symbolic link")


def _place(name: str, target: Path) -> Path:
    """Return where a member goes, its folders made; a name that leaves the target or passes a link is refused."""
    steps = name.split("/")
    if name.startswith("/") or ".." in steps or "\0" in name:
        raise _refused(name, "leaves the folder")
    path = target
    for step in steps[:-1]:
        path = path / step
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise _refused(name, "passes through a link or a file")
        path.mkdir(exist_ok=True)
    if (path / steps[-1]).is_symlink():
        raise _refused(name, "replaces a link")
    return path / steps[-1]


def _refuse_existing(path: Path, name: str) -> None:
    if path.exists():
        raise _refused(name, "is there twice")


def _check_link(name: str, link: str) -> None:
    place = posixpath.normpath(posixpath.join(posixpath.dirname(name), link))
    if link.startswith("/") or place == ".." or place.startswith("../"):
        raise _refused(name, f"links to '{link}', outside of the folder")


def _refused(name: str, why: str) -> HostileArchiveError:
    return HostileArchiveError(f"the archive of the revision is refused: '{name}' {why}", "Remove it from the commit")
