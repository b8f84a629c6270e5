# SPDX-License-Identifier: Apache-2.0
"""Unpack a part into a store of another root: every member is looked at before anything of it is written."""

import json
import os
import queue
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from allotment.errors import AllotmentError
from allotment_recipes.binary_cache import members, pack
from allotment_recipes.binary_cache.members import FILE, FOLDER, LINK, Member, MemberError
from allotment_recipes.binary_cache.prefix import ANY_ROOT
from allotment_recipes.binary_cache.zstd import zstd

_CHUNK: Final = 1 << 20  # bytes
_AHEAD: Final = 8  # chunks that are decompressed before they are written
_TABLE_LIMIT: Final = 1 << 28  # bytes
_LONGEST_NAME: Final = 256  # bytes of a part's folder


class UnpackedError(AllotmentError):
    """An archive is not what was said of it; nothing of it may stay."""


@dataclass
class Unpacked:
    """What was unpacked."""

    size: int = 0  # bytes of all files
    count: int = 0


def unpack(archive: IO[bytes], folder: Path, root: Path, size: int, count: int, elsewhere: Mapping[str, Path]) -> None:
    """Fill the empty ``folder``, which is to be a part of the store at ``root``, with what ``archive`` holds.

    It must be ``count`` files, folders and links, with ``size`` bytes in all files. ``elsewhere`` maps parts that are
    in a store of another root to that root.
    """
    with _decompressed(archive) as blocks:
        try:
            _Unpacking(_Stream(blocks), folder, root, elsewhere).run(size, count)
        except MemberError as error:
            raise UnpackedError(f"the archive is refused: {error.what}") from error


@dataclass
class _Stream:
    """Decompressed bytes, taken in pieces of any size."""

    blocks: Iterator[bytes]
    _block: bytes = b""
    _at: int = 0

    def take(self, size: int) -> bytes:
        """Return exactly so many bytes; an early end is an error."""
        end = self._at + size
        if end <= len(self._block):
            data = self._block[self._at : end]
            self._at = end
            return data
        return b"".join(self.pieces(size))

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield so many bytes in pieces."""
        while size:
            if self._at == len(self._block):
                self._block, self._at = next(self.blocks, b""), 0
                if not self._block:
                    raise MemberError("it ends too early")
            piece = self._block[self._at : self._at + size]
            self._at += len(piece)
            size -= len(piece)
            yield piece

    def is_at_end(self) -> bool:
        return self._at == len(self._block) and next(self.blocks, b"") == b""


@dataclass
class _Unpacking:
    stream: _Stream
    folder: Path
    root: Path
    elsewhere: Mapping[str, Path]
    folders: set[bytes] = field(default_factory=set)
    files: set[bytes] = field(default_factory=set)
    names: list[bytes] = field(default_factory=list)

    def run(self, size: int, count: int) -> None:
        self.top = os.fsencode(self.folder) + b"/"
        self.new_root = os.fsencode(self.root)
        offsets, hashed = self._table()
        before = b""
        while (member := members.read(self.stream.take)) is not None:
            members.check(member, before, self.folders, self.files)
            size -= member.size
            if size < 0 or len(self.names) >= count:
                raise MemberError("it holds more than was said")
            self._make(member, offsets.pop(len(self.names), ()))
            before = member.name
            self.names.append(before)
        if size or len(self.names) != count or offsets or not self.stream.is_at_end():
            raise MemberError("it holds other things than was said")
        for compiled, source in hashed:
            self._write_hash(compiled, source)

    def _table(self) -> tuple[dict[int, Any], list[tuple[int, int]]]:
        member = members.read(self.stream.take)
        if member is None or member.name != pack.TABLE or member.size > _TABLE_LIMIT:
            raise MemberError("it does not begin with the table of offsets")
        text = self._padded(member.size)
        try:
            table = json.loads(text)
            if table["format"] != pack.FORMAT:
                raise MemberError(f"its table has the format {table['format']!r}, this version reads {pack.FORMAT}")
            offsets = {_number(index): [_number(at) for at in found] for index, found in table["offsets"]}
            return offsets, [(_number(compiled), _number(source)) for compiled, source in table["hashed"]]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise MemberError("its table of offsets can't be read") from error

    def _make(self, member: Member, offsets: Any) -> None:
        path = self.top + member.name
        if member.kind == FILE:
            self._write(path, member, offsets)
            self.files.add(member.name)
            return
        if offsets:
            raise MemberError(f"{members.shown(member.name)!r} is no file and has offsets")
        if member.kind == FOLDER:
            os.mkdir(path)  # noqa: PTH102 (names are bytes, which Path does not take)
            self.folders.add(member.name)
        elif member.kind == LINK:
            os.symlink(self._relocated(member.link), path)  # noqa: PTH211 (as above)
        else:
            os.link(self.top + member.link, path, follow_symlinks=False)

    def _write(self, path: bytes, member: Member, offsets: Any) -> None:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, member.mode | 0o200)
        try:
            if member.size <= _CHUNK:
                _write_all(handle, self.stream.take(member.size))
            else:
                for piece in self.stream.pieces(member.size):
                    _write_all(handle, piece)
            self.stream.take(members.padding(member.size))
            for offset in offsets:
                found = os.pread(handle, len(ANY_ROOT) + _LONGEST_NAME, min(offset, member.size))
                if not found.startswith(ANY_ROOT):
                    raise MemberError(f"{members.shown(member.name)!r} does not name the store at {offset}")
                os.pwrite(handle, self._root_before(found[len(ANY_ROOT) :]), offset)
            if member.time:
                os.utime(handle, (member.time, member.time))
        finally:
            os.close(handle)

    def _root_before(self, following: bytes) -> bytes:
        """Return the root of the part that is named after it; what is not elsewhere is here."""
        for name, root in self.elsewhere.items():
            if following.startswith(b"/" + name.encode()):
                return os.fsencode(root)
        return self.new_root

    def _relocated(self, link: bytes) -> bytes:
        start, found, following = link.partition(ANY_ROOT)
        return start + self._root_before(following) + self._relocated(following) if found else link

    def _write_hash(self, compiled: int, source: int) -> None:
        """Let a compiled file know its source as it is here."""
        try:
            names = self.names[compiled], self.names[source]
        except IndexError:
            raise MemberError("its table of offsets names what it has not") from None
        if not self.files >= set(names):
            raise MemberError("its table of offsets names what is no file")
        with open(self.top + names[0], "r+b") as file, open(self.top + names[1], "rb") as text:
            head = file.read(16)
            if len(head) != 16 or head[8:] != bytes(8):
                raise MemberError(f"{members.shown(names[0])!r} has no place for a hash")
            file.seek(8)
            file.write(pack.source_hash(head, text.read()))

    def _padded(self, size: int) -> bytes:
        data = self.stream.take(size)
        self.stream.take(members.padding(size))
        return data


@contextmanager
def _decompressed(archive: IO[bytes]) -> Iterator[Iterator[bytes]]:
    """Give the decompressed bytes, which a thread of its own makes while the ones before are written."""
    ready: queue.Queue[bytes | Exception] = queue.Queue(_AHEAD)
    is_left = threading.Event()

    def work() -> None:
        try:
            with zstd().ZstdFile(archive) as stream:
                while not is_left.is_set():
                    block = stream.read(_CHUNK)
                    ready.put(block)
                    if not block:
                        return
        except Exception as error:  # told by whoever reads
            ready.put(error)

    def blocks() -> Iterator[bytes]:
        while True:
            block = ready.get()
            if isinstance(block, OSError):
                raise block
            if isinstance(block, Exception):
                raise MemberError(f"it can't be decompressed: {block}") from block
            if not block:
                return
            yield block

    thread = threading.Thread(target=work, name="decompress", daemon=True)
    thread.start()
    try:
        yield blocks()
    finally:
        is_left.set()
        while thread.is_alive():
            with suppress(queue.Empty):  # it may wait for room
                ready.get(timeout=0.05)
        thread.join()


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(value)
    return value
