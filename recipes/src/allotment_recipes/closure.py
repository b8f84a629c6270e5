# SPDX-License-Identifier: Apache-2.0
"""The closure of a release: every file that it reads, as one archive whose bytes depend on nothing else."""

import io
import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Final

from allotment.errors import AllotmentError

SIZE_LIMIT: Final = 64 << 20  # bytes, of all files together
COUNT_LIMIT: Final = 10_000  # files
_IGNORED: Final = frozenset({"__pycache__", "test"})  # a release's tests are no part of what is deployed


class ClosureError(AllotmentError):
    """A file that a release reads, or an archive of them, can't be accepted."""


def release_files(folder: Path) -> Iterator[Path]:
    """Yield every file of a release's own folder, but its tests, hidden files and what Python and editors leave."""
    for entry in sorted(os.scandir(folder), key=lambda item: item.name):
        if entry.name in _IGNORED or entry.name.startswith(".") or entry.name.endswith((".pyc", "~")):
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
    """Unpack to ``folder``, which is replaced in one step; anything but plain files inside it is refused.

    Our own extractor, because Python 3.11.2 has no ``tarfile.data_filter``. Nothing of a refused archive stays.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with archive.open("rb") as file:
            _extract(file, temporary, str(archive))
        temporary.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary)


def _extract(file: IO[bytes], folder: Path, where: str) -> None:
    total = 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for count, member in enumerate(archive, 1):
                total += member.size
                if count > COUNT_LIMIT or total > SIZE_LIMIT or member.size < 0:
                    raise ClosureError(
                        f"{where} holds more than {COUNT_LIMIT} files or {SIZE_LIMIT} bytes", "Make it smaller"
                    )
                _extract_member(archive, member, folder, where)
    except (tarfile.TarError, UnicodeError, ValueError, EOFError) as error:
        raise ClosureError(f"{where} is not an archive: {error}", "Fetch it again") from error


def _extract_member(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, where: str) -> None:
    target = folder / safe_name(member.name, where)
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise ClosureError(f"{where}: {member.name!r} is a link or a device", "Only plain files are accepted")
    source = archive.extractfile(member)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as output:  # no name twice
            shutil.copyfileobj(source, output) if source is not None else None
            output.flush()
            written = output.tell()
    except (FileExistsError, NotADirectoryError) as error:
        raise ClosureError(f"{where}: {member.name!r} is there twice", "Each file has one name") from error
    if written != member.size:
        raise ClosureError(f"{where} ends inside {member.name!r}", "Fetch it again")
    target.chmod(0o755 if member.mode & 0o100 else 0o644)


def safe_name(name: str, where: str) -> PurePosixPath:
    """Return a member's name when it is a plain relative path; absolute names, ``..`` and the like are errors."""
    path = PurePosixPath(name)
    bad = not name or path.is_absolute() or ".." in path.parts or "\\" in name or not path.parts
    if bad or any(ord(letter) < 32 for letter in name) or len(name) > 1000:
        raise ClosureError(f"{where}: {name!r} is not a relative path inside it", "Nothing of it was unpacked")
    return path
