# SPDX-License-Identifier: Apache-2.0
"""What an ELF file asks of the loader: the few fields of its dynamic section, read without a library for it."""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

_MAGIC: Final = b"\x7fELF"
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NEEDED, _DT_STRTAB, _DT_RPATH, _DT_RUNPATH = 1, 5, 15, 29
_LIMIT: Final = 1 << 20  # bytes of a dynamic section, or of one string's table that is read


@dataclass(frozen=True)
class Elf:
    """A program or shared library; both are empty for an object file or a static program."""

    needed: tuple[str, ...]  # names of libraries
    search: tuple[str, ...]  # folders of its RUNPATH, or RPATH when it has none: also "", which is the current one


@dataclass(frozen=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


def read(path: Path) -> Elf | None:
    """Return what a file asks for; None when it is no ELF file, ValueError when it is a damaged one."""
    with path.open("rb") as file:
        head = file.read(64)
        if not head.startswith(_MAGIC):
            return None
        try:
            return _parse(file, head)
        except (struct.error, IndexError) as error:
            raise ValueError(f"a damaged ELF file: {error}") from error


def _parse(file: IO[bytes], head: bytes) -> Elf:
    order = {1: "<", 2: ">"}[head[5]] if head[5] in (1, 2) else "<"
    is_wide = head[4] == 2
    segments = list(_segments(file, head, order, is_wide))
    dynamic = next((item for item in segments if item.kind == _PT_DYNAMIC), None)
    if dynamic is None:
        return Elf((), ())
    entries = list(_entries(_at(file, dynamic.offset, min(dynamic.size, _LIMIT)), order, is_wide))
    table = next((value for tag, value in entries if tag == _DT_STRTAB), 0)
    start = next(
        (
            item.offset + table - item.address
            for item in segments
            if item.kind == _PT_LOAD and item.address <= table < item.address + item.size
        ),
        table,
    )

    def texts(tag: int) -> tuple[str, ...]:
        return tuple(_text(file, start + value) for found, value in entries if found == tag)

    search = texts(_DT_RUNPATH) or texts(_DT_RPATH)
    return Elf(texts(_DT_NEEDED), tuple(folder for text in search if text for folder in text.split(":")))


def _segments(file: IO[bytes], head: bytes, order: str, is_wide: bool) -> Iterator[_Segment]:
    if is_wide:
        (table,) = struct.unpack_from(f"{order}Q", head, 32)
        size, count = struct.unpack_from(f"{order}HH", head, 54)
    else:
        (table,) = struct.unpack_from(f"{order}I", head, 28)
        size, count = struct.unpack_from(f"{order}HH", head, 42)
    data = _at(file, table, size * count)
    for index in range(count):
        if is_wide:
            kind, _, offset, address, _, length = struct.unpack_from(f"{order}IIQQQQ", data, index * size)
        else:
            kind, offset, address, _, length = struct.unpack_from(f"{order}IIIII", data, index * size)
        yield _Segment(kind, offset, address, length)


def _entries(data: bytes, order: str, is_wide: bool) -> Iterator[tuple[int, int]]:
    form = f"{order}qQ" if is_wide else f"{order}iI"
    for tag, value in struct.iter_unpack(form, data[: len(data) // struct.calcsize(form) * struct.calcsize(form)]):
        if tag == 0:
            return
        yield tag, value


def _text(file: IO[bytes], offset: int) -> str:
    return _at(file, offset, 4096).partition(b"\0")[0].decode(errors="replace")


def _at(file: IO[bytes], offset: int, size: int) -> bytes:
    if not 0 <= offset <= os.fstat(file.fileno()).st_size:
        raise ValueError("a damaged ELF file: it refers to what is beyond its end")
    file.seek(offset)
    return file.read(size)
