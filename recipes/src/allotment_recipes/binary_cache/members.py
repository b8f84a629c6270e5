# SPDX-License-Identifier: Apache-2.0
"""The members of a packed part: a GNU tar in which every tree has exactly one form.

A reader makes each header anew from what it has read and compares: what an archive of ours can't hold, such as a
device, an owner or a name that comes twice, can't be said here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from allotment.errors import AllotmentError

FILE: Final = b"0"
HARD_LINK: Final = b"1"  # ``link`` is the name of an earlier file
LINK: Final = b"2"
FOLDER: Final = b"5"
BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)
SIZE_LIMIT: Final = 1 << 33  # bytes of a file, from which on GNU tar writes sizes in another way
_KINDS: Final = frozenset({FILE, HARD_LINK, LINK, FOLDER})
_LONG_NAME: Final = b"L"
_LONG_LINK: Final = b"K"
_LONGEST: Final = 4096  # bytes, of which the system takes no more
_SHORT: Final = 100  # bytes of a name in a header


class MemberError(AllotmentError):
    """An archive holds what no packed part has."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file, folder or link."""

    name: bytes  # relative, without ``.`` or ``..``
    kind: bytes
    mode: int = 0o555  # of a file 0o444 or 0o555, of anything else 0o555
    size: int = 0  # bytes of a file, which follow, padded to a whole block
    time: int = 0  # seconds since the epoch, of sources that a compiled file knows by it; 0: any
    link: bytes = b""


def header(member: Member) -> bytes:
    """Return the blocks that open a member."""
    long = b""
    if len(member.link) > _SHORT:
        long += _long(_LONG_LINK, member.link)
    if len(member.name) > _SHORT:
        long += _long(_LONG_NAME, member.name)
    return long + _block(member.name, member.kind, member.mode, member.size, member.time, member.link)


def padding(size: int) -> int:
    """Return the number of bytes that fill the last block of a file."""
    return -size % BLOCK


def read(take: Callable[[int], bytes]) -> Member | None:
    """Return the next member, or None at the end; ``take`` gives exactly so many bytes."""
    raw = block = take(BLOCK)
    if block == END[:BLOCK]:
        if take(BLOCK) != block:
            raise MemberError("it has no right end")
        return None
    name = link = b""
    while (kind := block[156:157]) in (_LONG_NAME, _LONG_LINK):
        size = _number(block[124:135])
        if size > _LONGEST:
            raise MemberError("it has a name that is too long")
        text = take(size + padding(size))
        name, link = (text[: size - 1], link) if kind == _LONG_NAME else (name, text[: size - 1])
        block = take(BLOCK)
        raw += text + block
    if kind not in _KINDS:
        raise MemberError("it holds something that is neither a file nor a folder nor a link")
    member = Member(
        name or block[:_SHORT].rstrip(b"\0"), kind, _number(block[100:107]), _number(block[124:135]),
        _number(block[136:147]), link or block[157:257].rstrip(b"\0"),
    )  # fmt: skip
    if header(member) != raw:
        raise MemberError(f"{shown(member.name)!r} has a header that no packed part has")
    return member


def check(member: Member, before: bytes, folders: set[bytes], files: set[bytes]) -> None:
    """Raise unless a member may come after ``before``, given the real folders and files that came so far.

    As each is in a real folder of the same archive and no name comes twice, nothing is written through a link.
    """
    name, kind = member.name, member.kind
    steps = name.split(b"/")
    if name <= before or not name or b"\0" in name or any(step in (b"", b".", b"..") for step in steps):
        raise MemberError(f"{shown(name)!r} is not a name inside it, or not in its order")
    if len(steps) > 1 and name.rpartition(b"/")[0] not in folders:
        raise MemberError(f"{shown(name)!r} is in no folder of it")
    if member.mode != 0o555 and not (member.mode == 0o444 and kind == FILE):
        raise MemberError(f"{shown(name)!r} has the mode {member.mode:o}")
    if kind != FILE and (member.size or member.time):
        raise MemberError(f"{shown(name)!r} has a size or a time that only files have")
    if kind == LINK and (not member.link or b"\0" in member.link):
        raise MemberError(f"{shown(name)!r} is a link to nothing")
    if kind == HARD_LINK and member.link not in files:
        raise MemberError(f"{shown(name)!r} is a link to {shown(member.link)!r}, which is no file before it")


def shown(name: bytes) -> str:
    """Return a name for people."""
    return name.decode(errors="replace")


def _long(kind: bytes, text: bytes) -> bytes:
    size = len(text) + 1
    return _block(b"././@LongLink", kind, 0o644, size, 0, b"") + text + bytes(1 + padding(size))


def _block(name: bytes, kind: bytes, mode: int, size: int, time: int, link: bytes) -> bytes:
    start = b"%b%07o\0%b%011o\0%011o\0" % (name[:_SHORT].ljust(_SHORT, b"\0"), mode, b"0000000\0" * 2, size, time)
    rest = kind + link[:_SHORT].ljust(_SHORT, b"\0") + b"ustar  \0" + bytes(247)
    return start + b"%06o\0 " % (sum(start) + sum(rest) + 8 * ord(" ")) + rest


def _number(text: bytes) -> int:
    if text.strip(b"01234567") or not text:  # int() takes signs, which sizes that lead backwards have
        raise MemberError("it is no archive of ours")
    return int(text, 8)
