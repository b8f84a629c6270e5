# SPDX-License-Identifier: Apache-2.0
"""The tree of a commit as one archive of which the same tree gives the same bytes: what ``tree-sha256`` is of.

A tar in the pax format: all folders, files and links by their paths' bytes in order, nobody's, at the commit's time,
files and folders with 0644 or 0755.
"""

import hashlib
import os
import stat
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from allotment.errors import AllotmentError
from allotment_recipes.archive_limits import Rules
from allotment_recipes.unpack import unpack

RULES: Final = Rules(odd_names=True)


def pack_tree(folder: Path, time: int, archive: Path) -> str:
    """Write the archive of a folder and return its sha256; ``time`` is in seconds since the UTC epoch."""
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.rglob("*"), key=lambda path: os.fsencode(path.relative_to(folder))):
            status = path.lstat()
            member = tarfile.TarInfo(str(path.relative_to(folder)))
            member.mtime = time
            member.mode = 0o755 if stat.S_ISDIR(status.st_mode) or status.st_mode & stat.S_IXUSR else 0o644
            if stat.S_ISLNK(status.st_mode):
                member.type, member.linkname = tarfile.SYMTYPE, os.fsdecode(path.readlink())
                tar.addfile(member)
            elif stat.S_ISDIR(status.st_mode):
                member.type = tarfile.DIRTYPE
                tar.addfile(member)
            elif stat.S_ISREG(status.st_mode):
                member.size = status.st_size
                with path.open("rb") as file:
                    tar.addfile(member, file)
            else:
                raise AllotmentError(f"{path} is neither file, folder nor link", "Take it out of the repository")
    with archive.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack_tree(archive: Path, folder: Path) -> None:
    """Unpack an archive that ``pack_tree`` wrote into an empty folder, as the checkout was."""
    with tarfile.open(archive) as tar:
        first = tar.next()
    aside = Path(tempfile.mkdtemp(dir=folder))  # a name that no archive knows
    unpack(archive, aside / "tree", strip_top_level=False, rules=RULES)
    for path in (aside / "tree").iterdir():
        path.rename(folder / path.name)
    (aside / "tree").rmdir()
    aside.rmdir()
    settle(folder, int(first.mtime) if first is not None else 0)


def settle(folder: Path, time: int) -> None:
    """Leave neither modes nor times of today."""
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
        os.utime(path, (time, time), follow_symlinks=False)
