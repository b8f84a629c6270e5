# SPDX-License-Identifier: Apache-2.0
"""Unpack archives so that nothing in them reaches outside of the target: the one place where it is done.

Our own extractor, because Python 3.11.2 has no ``tarfile.data_filter``. Nothing of a refused archive stays.
"""

import bz2
import errno
import gzip
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, cast

from allotment_recipes.archive_limits import (
    HEADER_LIMIT,
    SOURCE,
    BoundedTar,
    BoundedZip,
    Rules,
    UnpackError,
    stays_inside,
)
from allotment_recipes.xz import MEMORY_LIMIT, XzStream

_CHUNK: Final = 1 << 18  # bytes
_GOAL_LIMIT: Final = 4096  # bytes of what a link says, as for every link on a disk
_MAGIC: Final = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\x00", XzStream))
_ZIP_PACKINGS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
_SHOWN: Final = 200  # letters of a name in an error
_LATEST: Final = 1 << 32  # seconds since 1970: the year 2106, which every file system can keep
_ZIP_EPOCH: Final = 315532800.0  # 1980-01-01, before which a zip has no times
_OTHERS: Final = (
    (b"\x28\xb5\x2f\xfd", "zstd"), (b"LZIP", "lzip"), (b"\x1f\x9d", "compress"), (b"7z\xbc\xaf", "7z"),
    (b"\x5d\0\0", "lzma"), (b"Rar!", "rar"),
)  # fmt: skip


def unpack(archive: Path, target: Path, strip_top_level: bool = True, rules: Rules = SOURCE, where: str = "") -> None:
    """Unpack a tar (plain, gz, bz2, xz) or zip to ``target``, which is replaced in one step.

    The kind is known by the first bytes, not by the name. With ``strip_top_level`` a single folder that holds all
    else is left out. Of the modes only the executable bit is kept; owners are ignored. Errors call the archive
    ``where``, by default its path.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        place = _Place(temporary / "new", where or str(archive), rules)
        with archive.open("rb") as file:
            _extract(file, place)
        top = place.finish(strip_top_level)
        if target.exists():
            shutil.rmtree(target)
        top.rename(target)
    finally:
        shutil.rmtree(temporary)


def check(archive: Path, where: str, rules: Rules = SOURCE) -> None:
    """Raise when an archive, which another program is to unpack, names what is outside, or holds too much.

    Links are accepted: of those that call this, pip and npm make none.
    """
    with archive.open("rb") as file:
        _extract(file, _Nowhere(where, rules))


def safe_name(name: str, where: str, odd: bool = False) -> PurePosixPath:
    """Return a member's name when it is a plain relative path; absolute names, ``..`` and the like are errors.

    ``odd`` accepts backslashes and control characters, which mean nothing to the file system.
    """
    path = PurePosixPath(name)
    bad = not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name or len(name) > 1000
    if bad or (not odd and any(ord(letter) < 32 or letter == "\\" for letter in name)):
        raise UnpackError(f"{where}: {name[:_SHOWN]!r} is not a relative path inside it", "Nothing of it was unpacked")
    return path


class _Nowhere:
    """What takes the members of an archive, counts them, and writes nothing."""

    def __init__(self, where: str, rules: Rules) -> None:
        self.where = where
        self.rules = rules
        self._size = 0
        self._count = 0

    def count(self, size: int) -> None:
        """Note one more member of ``size`` bytes, as its header says, before anything of it is written."""
        self._count += 1
        if size < 0 or self._count > self.rules.count or self._size + size > self.rules.size:
            raise self.too_much()

    def add(self, size: int) -> None:
        """Note bytes that were read: a zip's header may lie."""
        self._size += size
        if self._size > self.rules.size:
            raise self.too_much()

    def folder(self, name: str) -> None:
        if name.rstrip("/") not in (".", ""):
            safe_name(name, self.where, self.rules.odd_names)

    def file(self, name: str, stream: IO[bytes], size: int, mode: int, time: float) -> None:
        safe_name(name, self.where, self.rules.odd_names)
        while chunk := stream.read(_CHUNK):
            self.add(len(chunk))

    def symbolic_link(self, name: str, goal: str) -> None:
        safe_name(name, self.where, self.rules.odd_names)

    hard_link = symbolic_link

    def refused(self, name: str, why: str, fix: str) -> UnpackError:
        """Return the error of a member."""
        return UnpackError(f"{self.where}: {name[:_SHOWN]!r} {why}", fix)

    def too_much(self) -> UnpackError:
        """Return the error of an archive that holds more than it may."""
        return UnpackError(
            f"{self.where} holds more than {self.rules.count} files or {self.rules.size} bytes", "Make it smaller"
        )


class _Place(_Nowhere):
    """The folder that is filled. No member is ever written through a link, and no name comes twice."""

    def __init__(self, root: Path, where: str, rules: Rules) -> None:
        super().__init__(where, rules)
        self._root = root
        self._links: dict[Path, tuple[str, str]] = {}  # -> its name in the archive, and what it says
        self._times: dict[Path, float] = {}
        root.mkdir()

    def folder(self, name: str) -> None:
        if name.rstrip("/") in (".", ""):
            return
        path = self._path(name.rstrip("/"))
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise self.refused(name, "is there twice", "Each file has one name")
        path.mkdir(exist_ok=True)

    def file(self, name: str, stream: IO[bytes], size: int, mode: int, time: float) -> None:
        path = self._new(name)
        with path.open("xb") as output:
            written = 0
            while chunk := stream.read(_CHUNK):
                written += len(chunk)
                self.add(len(chunk))
                output.write(chunk)
        if written != size:
            raise UnpackError(f"{self.where} ends inside {name[:_SHOWN]!r}", "Fetch it again")
        path.chmod(0o755 if mode & 0o100 else 0o644)
        if self.rules.times:
            self._times[path] = time if 0 <= time <= _LATEST else 0.0  # also for what is no number

    def symbolic_link(self, name: str, goal: str) -> None:
        self._need_links(name)
        path = self._new(name)
        inside = os.path.normpath(self._root.joinpath(name).parent / goal)
        if goal.startswith("/") or "\0" in goal or not goal or not _is_inside(inside, str(self._root)):
            raise self.refused(name, f"is a link to {goal[:_SHOWN]!r}, outside of it", "Nothing of it was unpacked")
        path.symlink_to(goal)
        self._links[path] = (name, goal)

    def hard_link(self, name: str, goal: str) -> None:
        """Copy what an earlier member holds; the copy has that member's time."""
        self._need_links(name)
        source = self._path(goal)
        if source.is_symlink() or not source.is_file():
            raise self.refused(
                name, f"is a link to {goal[:_SHOWN]!r}, which is no file before it", "Nothing of it was unpacked"
            )
        self.count(source.stat().st_size)
        with source.open("rb") as stream:
            status = source.stat()
            time = self._times.get(source, status.st_mtime)
            self.file(name, stream, status.st_size, status.st_mode, time)

    def finish(self, strip_top_level: bool) -> Path:
        """Return the folder to keep, after a look at where its links really lead, one through the other."""
        entries = list(self._root.iterdir())
        top = entries[0] if strip_top_level and len(entries) == 1 else self._root
        top = top if top.is_dir() and not top.is_symlink() else self._root
        for path, time in self._times.items():
            os.utime(path, (time, time))
        links = {path.relative_to(top).parts: goal for path, (_, goal) in self._links.items()}
        for path, (name, _) in self._links.items():
            if not stays_inside(path.relative_to(top).parts, links):
                raise self.refused(name, "is a link that leads out of it", "Nothing of it was unpacked")
        top.chmod(0o755)
        return top

    def _need_links(self, name: str) -> None:
        if not self.rules.links:
            raise self.refused(name, "is a link or a device", "Only plain files are accepted")

    def _new(self, name: str) -> Path:
        path = self._path(name)
        if path.is_symlink() or path.exists():
            raise self.refused(name, "is there twice", "Each file has one name")
        return path

    def _path(self, name: str) -> Path:
        """Return where a member goes, its folders made."""
        path = self._root
        *folders, last = safe_name(name, self.where, self.rules.odd_names).parts
        for step in folders:
            path = path / step
            if path.is_symlink() or (path.exists() and not path.is_dir()):
                raise self.refused(name, "passes through a link or a file", "Nothing of it was unpacked")
            if not path.exists():
                self.count(0)
                path.mkdir()
        return path / last


def _extract(file: IO[bytes], place: _Nowhere) -> None:
    where = place.where
    with _damage(where):
        start = file.read(8)
        file.seek(0)
        for magic, name in _OTHERS:
            if start.startswith(magic):
                raise UnpackError(f"{where} is packed with {name}, which is not read", "Pin a tar.gz, tar.xz or zip")
        if start.startswith(b"PK"):
            _extract_zip(file, place)
            return
        opener = next((opener for magic, opener in _MAGIC if start.startswith(magic)), None)
        stream = cast(IO[bytes], opener(file, "rb")) if opener else file
        _extract_tar(stream, place, where)


@contextmanager
def _damage(where: str) -> Iterator[None]:
    """Turn what the libraries say of damaged bytes into one kind of error."""
    try:
        yield
    except lzma.LZMAError as error:
        if "emory" in str(error):
            need = f"needs more than {MEMORY_LIMIT >> 20} MiB of memory to be unpacked"
            raise UnpackError(f"{where} {need}", "Pack it anew, as xz -9 does or with less") from error
        raise UnpackError(f"{where} is not an archive: {error}", "Fetch it again") from error
    except (
        tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, UnicodeError, ValueError,
        OverflowError, RuntimeError,  # RuntimeError: a zip with a password, or packed in a way that is not read
    ) as error:  # fmt: skip
        raise UnpackError(f"{where} is not an archive: {error}", "Fetch it again") from error
    except OSError as error:
        if error.errno in (
            None,
            errno.EINVAL,
        ):  # bz2 of bytes that it can't read, and a zip of a place before its start
            raise UnpackError(f"{where} is not an archive: {error}", "Fetch it again") from error
        if error.errno == errno.ENAMETOOLONG:
            raise UnpackError(f"{where} holds a name that is too long for this disk", "Shorten it") from error
        raise


def _extract_tar(stream: IO[bytes], place: _Nowhere, where: str) -> None:
    bounded = BoundedTar(stream, where)
    with tarfile.open(fileobj=cast(Any, bounded), mode="r:", errorlevel=2) as archive:
        for member in archive:
            archive.members = []  # type: ignore[attr-defined]  # else each header would stay in memory
            if sum(len(key) + len(str(value)) for key, value in archive.pax_headers.items()) > HEADER_LIMIT:
                raise UnpackError(f"{where} has too much in its headers for all members", "Nothing of it was unpacked")
            place.count(member.size if member.isreg() else 0)
            if member.isdir():
                place.folder(member.name)
            elif member.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE) and not member.issparse():
                source = archive.extractfile(member)
                assert source is not None
                bounded.is_header = False
                place.file(member.name, source, member.size, member.mode, member.mtime)
                bounded.is_header = True
            elif member.issym():
                place.symbolic_link(member.name, member.linkname)
            elif member.islnk():
                place.hard_link(member.name, member.linkname)
            else:
                raise place.refused(member.name, "is a link or a device", "Only plain files are accepted")
            bounded.begin_member()


def _extract_zip(file: IO[bytes], place: _Nowhere) -> None:
    with zipfile.ZipFile(cast(Any, BoundedZip(file, place.where, place.rules.count))) as archive:
        for info in archive.infolist():
            place.count(info.file_size)
            if info.compress_type not in _ZIP_PACKINGS:  # lzma takes as much memory as the archive says
                raise UnpackError(f"{place.where} is packed in a way that is not read", "Pack it anew, with deflate")
            mode = info.external_attr >> 16
            time = _zip_time(info)
            kind = stat.S_IFMT(mode)
            if info.filename.endswith("/"):  # is_dir() raises IndexError where the name is empty
                place.folder(info.orig_filename)
            elif kind not in (0, stat.S_IFREG, stat.S_IFLNK):
                raise place.refused(info.orig_filename, "is a link or a device", "Only plain files are accepted")
            elif kind == stat.S_IFLNK:
                with archive.open(info) as stream:
                    place.symbolic_link(info.orig_filename, stream.read(_GOAL_LIMIT).decode())
            else:
                with archive.open(info) as stream:
                    place.file(info.orig_filename, stream, info.file_size, mode, time)


def _zip_time(info: zipfile.ZipInfo) -> float:
    """Return the time in a zip's entry, taken as UTC: the machine's zone is no input of a build."""
    import calendar

    try:
        return calendar.timegm((*info.date_time, 0, 0, 0))
    except ValueError:  # some tools leave it out: month and day are 0
        return _ZIP_EPOCH


def _is_inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
