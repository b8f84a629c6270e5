# SPDX-License-Identifier: Apache-2.0
"""Pack a part of a store: the same files give the same bytes, whichever store they were built in, and whenever."""

import _imp
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from allotment.errors import AllotmentError
from allotment.messages.binary_cache import Fixed
from allotment_recipes.binary_cache import members, prefix
from allotment_recipes.binary_cache.members import FILE, FOLDER, HARD_LINK, LINK, Member
from allotment_recipes.binary_cache.zstd import zstd

TABLE: Final = b".allotment-offsets"  # the first member: where the root is in the members after it
LEVEL: Final = 6  # of Zstandard: a higher one takes far longer and saves little
FORMAT: Final = 1
_CHUNK: Final = 1 << 20  # bytes
_FIXED_SHOWN: Final = 20  # files that are named as a reason
_HASHED: Final = slice(8, 16)  # bytes of a .pyc: the hash of its source, or the time and the size of it
_FIRST_MAGIC: Final = 3495  # of Python 3.11, since when that hash is made as it is now


@dataclass
class Packed:
    """What was packed."""

    size: int = 0  # bytes of all files
    count: int = 0
    fixed: list[Fixed] = field(default_factory=list)


@dataclass
class _Found:
    """A file of the part, as it is about to be packed."""

    path: Path
    member: Member
    offsets: list[int] = field(default_factory=list)


def pack(folder: Path, root: Path, target: Path) -> Packed:
    """Write the part in ``folder``, of the store at ``root``, as an archive to ``target``."""
    name = os.fsencode(root)
    packed = Packed()
    found = list(_walk(folder, name, packed))
    hashed = list(_hashed(found))
    table = {"format": FORMAT, "offsets": [[index, item.offsets] for index, item in enumerate(found) if item.offsets]}
    text = json.dumps({**table, "hashed": hashed}, separators=(",", ":")).encode()
    blanked = {compiled for compiled, _ in hashed}
    with target.open("xb") as output, zstd().ZstdFile(output, "w", level=LEVEL) as archive:
        _write(archive, Member(TABLE, FILE, 0o444, len(text)), [text])
        for index, item in enumerate(found):
            _write(archive, item.member, _content(item, is_blanked=index in blanked))
        archive.write(members.END)
    return packed


def source_hash(compiled: bytes, source: bytes) -> bytes:
    """Return the hash by which a ``.pyc`` that begins with ``compiled`` knows this source."""
    return _imp.source_hash(int.from_bytes(compiled[:4], "little"), source)


def _walk(folder: Path, root: bytes, packed: Packed) -> Iterator[_Found]:
    """Yield all of a part, sorted by name; a folder comes before what is in it."""
    inodes: dict[tuple[int, int], bytes] = {}
    top = os.fsencode(folder)
    for name in sorted(_names(top)):
        path = Path(os.fsdecode(top + b"/" + name))
        status = path.lstat()
        packed.count += 1
        if name == TABLE:
            raise AllotmentError(f"{path} has a name that packed parts use themselves", "Give it another name")
        if stat.S_ISDIR(status.st_mode):
            yield _Found(path, Member(name, FOLDER))
        elif stat.S_ISLNK(status.st_mode):
            link = os.fsencode(path.readlink()).replace(root, prefix.ANY_ROOT)
            yield _Found(path, Member(name, LINK, link=link))
        elif not stat.S_ISREG(status.st_mode):
            raise AllotmentError(
                f"{path} is neither a file nor a folder nor a link", "Remove it when the part is built"
            )
        elif (inode := (status.st_dev, status.st_ino)) in inodes:
            yield _Found(path, Member(name, HARD_LINK, link=inodes[inode]))
        else:
            inodes[inode] = name
            yield _file(path, name, status, root, packed)


def _file(path: Path, name: bytes, status: os.stat_result, root: bytes, packed: Packed) -> _Found:
    if status.st_size >= members.SIZE_LIMIT:
        raise AllotmentError(f"{path} is larger than {members.SIZE_LIMIT >> 30} GiB", "Leave it out of the part")
    packed.size += status.st_size
    if len(packed.fixed) < _FIXED_SHOWN and (reason := prefix.hidden(path, root)):
        packed.fixed.append(Fixed(members.shown(name), reason))
    mode = 0o555 if status.st_mode & 0o111 else 0o444
    member = Member(name, FILE, mode, status.st_size, _known_time(path, int(status.st_mtime)))
    return _Found(path, member, prefix.offsets(path.read_bytes(), root))


def _names(top: bytes) -> Iterator[bytes]:
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            yield (folder + b"/" + name)[len(top) + 1 :]


def _known_time(path: Path, time: int) -> int:
    """Return a source's time when a compiled file beside it is good for a source of that time only; else 0."""
    if path.suffix != ".py":
        return 0
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        head = _head(compiled)
        if head[4:8] == bytes(4) and int.from_bytes(head[8:12], "little") == time:
            return time
    return 0


def _hashed(found: list[_Found]) -> Iterator[tuple[int, int]]:
    """Yield the compiled files that know, by its hash, a source that names the store; each with that source."""
    by_path = {item.path: index for index, item in enumerate(found)}
    for index, item in enumerate(found):
        if item.path.suffix != ".py" or not item.offsets:
            continue
        source = item.path.read_bytes()
        for compiled in sorted(item.path.parent.glob(f"__pycache__/{item.path.stem}.*.pyc")):
            head = _head(compiled)
            is_hashed = len(head) == 16 and head[4] & 1 and int.from_bytes(head[:2], "little") >= _FIRST_MAGIC
            if is_hashed and head[_HASHED] == source_hash(head, source):
                yield by_path[compiled], index


def _head(compiled: Path) -> bytes:
    with compiled.open("rb") as file:
        return file.read(16)


def _content(item: _Found, *, is_blanked: bool) -> Iterator[bytes]:
    """Yield a file with ``ANY_ROOT`` where its root is, and nothing where the hash of a source is that has changed."""
    if item.member.kind != FILE:
        return
    if not item.offsets and not is_blanked:
        with item.path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
        return
    data = bytearray(item.path.read_bytes())
    for offset in item.offsets:
        data[offset : offset + len(prefix.ANY_ROOT)] = prefix.ANY_ROOT
    if is_blanked:
        data[_HASHED] = bytes(8)
    yield bytes(data)


def _write(archive: IO[bytes], member: Member, chunks: Iterator[bytes] | list[bytes]) -> None:
    archive.write(members.header(member))
    size = 0
    for chunk in chunks:
        archive.write(chunk)
        size += len(chunk)
    if member.kind == FILE:
        if size != member.size:
            raise AllotmentError(f"{members.shown(member.name)} has changed while it was packed", "Try again")
        archive.write(bytes(members.padding(size)))
