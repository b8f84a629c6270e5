# SPDX-License-Identifier: Apache-2.0
"""Hostile archives, each made by code: by those who would write elsewhere, or fill a machine."""

import bz2
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, Final

FILE: Final = b"content\n"
BLOCK: Final = 512
MEGABYTE: Final = 1 << 20
Member = tuple[str, Any]  # name, and content or {attribute of TarInfo: value}


def tar(*members: Member, kind: int = tarfile.PAX_FORMAT, end: bool = True) -> bytes:
    """Make a tar of members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            data = content if isinstance(content, bytes) else b""
            info.size = len(data)
            for key, value in content.items() if isinstance(content, dict) else ():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data) if isinstance(content, bytes) else None)
        place = archive.offset
    return buffer.getvalue() if end else buffer.getvalue()[:place]


def header(name: str, kind: bytes = b"0", size: int = 0, **more: bytes) -> bytes:
    """Make one header by hand; ``more`` are fields as bytes: digits of the size, prefix, magic, linkname."""
    block = bytearray(BLOCK)
    block[0 : len(os.fsencode(name))] = os.fsencode(name)
    block[100:108] = b"0000644\0"
    block[108:124] = b"0000000\0" * 2
    block[124:136] = more.get("digits", b"%011o\0" % size)
    block[136:148] = b"00000000000\0"
    block[156:157] = kind
    block[157 : 157 + len(more.get("linkname", b""))] = more.get("linkname", b"")
    block[257:265] = more.get("magic", b"ustar\x0000")
    block[345 : 345 + len(more.get("prefix", b""))] = more.get("prefix", b"")
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pax(records: dict[str, bytes], kind: bytes = b"x") -> bytes:
    """Make an extended header by hand."""
    data = b""
    for key, value in records.items():
        rest = b" " + key.encode() + b"=" + value + b"\n"
        length = len(rest) + 1
        while length != len(rest) + len(str(length)):
            length = len(rest) + len(str(length))
        data += str(length).encode() + rest
    return header("pax", kind, len(data)) + padded(data)


def padded(data: bytes) -> bytes:
    """Fill up the last block."""
    return data + bytes(-len(data) % BLOCK)


def zipped(*members: tuple[str, bytes, int], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Make a zip of (name, content, mode with the kind of file)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as archive:
        for name, content, mode in members:
            info = zipfile.ZipInfo(name, (2020, 2, 2, 2, 2, 2))
            info.external_attr = mode << 16
            info.compress_type = packing
            archive.writestr(info, content)
    return buffer.getvalue()


def link(goal: str, kind: bytes = tarfile.SYMTYPE) -> dict[str, Any]:
    """Be a link in a tar."""
    return {"type": kind, "linkname": goal}


def hard(goal: str) -> dict[str, Any]:
    """Be a hard link in a tar."""
    return link(goal, tarfile.LNKTYPE)


def bomb(pack: Callable[[bytes], bytes]) -> bytes:
    """Make a tar of files of zeros, 640 MB in all: the packed zeros are there many times, as one stream after another.

    They are written as each header says, so that only counting finds out.
    """
    zeros = pack(bytes(16 * MEGABYTE))
    head = pack(header("zeros", size=16 * MEGABYTE))
    return b"".join(pack(header(f"zeros{number}", size=16 * MEGABYTE)) + zeros for number in range(40)) + head


def many(kind: bytes) -> bytes:
    """Make a tar.gz of a million members that are nothing but headers."""
    names = b"".join(header(f"p/{number}", kind, linkname=b"x") for number in range(1000))
    return gzip.compress(names) * 1000


def sparse_chain() -> bytes:
    """Make a GNU sparse file whose list of pieces has no end: 300 MB of it, of which tarfile would make objects."""
    first = bytearray(header("sparse", b"S", magic=b"ustar  \0"))
    first[386:410] = b"00000000001\0" * 2
    first[482] = 1
    first[483:495] = b"00000000001\0"
    first[148:156] = b"        "
    first[148:156] = b"%06o\0 " % sum(first)
    more = (b"00000000001\0" * 42 + b"\1")[:505].ljust(BLOCK, b"\0")
    return gzip.compress(bytes(first)) + gzip.compress(more * 2048) * 300


def sparse_numbers() -> bytes:
    """Make a sparse file as pax 1.0 has them whose first number has no end."""
    records = {"GNU.sparse.major": b"1", "GNU.sparse.minor": b"0", "GNU.sparse.name": b"p", "GNU.sparse.realsize": b"1"}
    start = gzip.compress(pax(records) + header("sparse", size=1 << 30))
    return start + gzip.compress(b"1" * MEGABYTE) * 300


def global_headers() -> bytes:
    """Make 600 headers for all members of half a megabyte each, every one with another name."""
    return b"".join(
        gzip.compress(pax({f"comment{number}": b"x" * (MEGABYTE // 2)}, b"g") + header(f"p/{number}"))
        for number in range(600)
    )


def zip_of_many(number: int) -> bytes:
    """Make a zip that lists many files, all of them the first one."""
    one = zipped(("a", FILE, 0o100644))
    start = one.index(b"PK\1\2")
    end = one.index(b"PK\5\6")
    entry = one[start:end]
    listed = entry * number
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, number & 0xFFFF, number & 0xFFFF, len(listed), start, 0)
    return one[:start] + listed + tail


def zip_overlapping(number: int) -> bytes:
    """Make a zip of many names for the same megabytes of packed zeros."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros00", bytes(8 * MEGABYTE))
    one = buffer.getvalue()
    start, end = one.index(b"PK\1\2"), one.index(b"PK\5\6")
    entries = b"".join(one[start:end].replace(b"zeros00", b"zeros%02d" % index) for index in range(number))
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, number, number, len(entries), start, 0)
    return one[:start] + entries + tail


def zip_renamed(old: bytes, new: bytes) -> bytes:
    """Make a zip of a name that no tool writes."""
    return zipped((old.decode(), FILE, 0o100644)).replace(old, new)


def zip_that_lies() -> bytes:
    """Make a zip of 200 MB that says 10 bytes."""
    size = 200 * MEGABYTE
    return zipped(("bomb", bytes(size), 0)).replace(struct.pack("<L", size), struct.pack("<L", 10))


def zip_with_password() -> bytes:
    """Make a zip whose file is said to be encrypted."""
    data = bytearray(zipped(("a", FILE, 0)))
    data[data.index(b"PK\3\4") + 6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    return bytes(data)


def xz_greedy() -> bytes:
    """Make an xz that asks for 1.5 GiB of memory; packing it takes the same, so its header is written by hand."""
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]
    data = bytearray(lzma.compress(tar(("p/a", FILE)), lzma.FORMAT_XZ, filters=filters))
    place = data.index(b"\x21\x01", 12)  # the filter's id and how long its properties are
    data[place + 2] = 40  # of them the size: 4 GiB - 1
    length = (data[12] + 1) * 4
    data[12 + length - 4 : 12 + length] = struct.pack("<L", zlib.crc32(data[12 : 12 + length - 4]))
    return bytes(data)


def chain(length: int, last: str) -> list[Member]:
    """Make links that lead to each other, the last one to ``last``."""
    return [*((f"p/{number}", link(str(number + 1))) for number in range(length)), (f"p/{length}", link(last))]


def raw(*pieces: bytes) -> bytes:
    """Put headers together, with an end."""
    return b"".join(pieces) + bytes(2 * BLOCK)


HOSTILE: Final[dict[str, Callable[[], bytes]]] = {
    # names
    "absolute name": lambda: tar(("/tmp/hostile", FILE)),
    "absolute name in a prefix": lambda: raw(header("x", prefix=b"/tmp/hostile")),
    "name with two slashes first": lambda: tar(("//tmp/hostile", FILE)),
    "name that climbs": lambda: tar(("p/../../hostile", FILE)),
    "name that climbs at once": lambda: tar(("../hostile", FILE)),
    "name that is only dots": lambda: tar(("..", {"type": tarfile.DIRTYPE})),
    "name that climbs in pax": lambda: raw(pax({"path": b"../hostile"}), header("innocent", size=8), padded(FILE)),
    "name that climbs in a long name": lambda: raw(header("L", b"L", 11), padded(b"../hostile\0"), header("x")),
    "name with a zero": lambda: raw(pax({"path": b"p/a\0/../../hostile"}), header("innocent")),
    "name with an escape sequence": lambda: tar(("p/\x1b[2Jx", FILE)),
    "name with a line end": lambda: tar(("p/a\nb", FILE)),
    "name too long for a disk": lambda: tar(("p/" + "n" * 300, FILE)),
    "name too long for any system": lambda: tar(("p/" + "n/" * 40_000, FILE)),
    "name of 5 MB": lambda: gzip.compress(tar(("n" * (5 * MEGABYTE), FILE))),
    "folders as deep as a name goes": lambda: tar(("d/" * 498 + "f", FILE)),
    "names that differ by case": lambda: tar(("p/File", FILE), ("p/file", FILE)),
    "names that differ by unicode's forms": lambda: tar(("p/e\u0301", FILE), ("p/\u00e9", FILE)),
    "names that are no text": lambda: raw(header("p/\udcff")),
    "name that comes twice": lambda: tar(("p/a", FILE), ("p/a", b"other")),
    "name that comes twice, once with dots": lambda: tar(("p/a", FILE), ("p/./a", b"other")),
    "file as a folder": lambda: tar(("p/a", FILE), ("p/a/b", FILE)),
    "folder as a file": lambda: tar(("p/a/b", FILE), ("p/a", FILE)),
    # links
    "absolute link": lambda: tar(("p/a", link("/etc/passwd"))),
    "link that climbs": lambda: tar(("p/a", link("../../sentinel"))),
    "file through a link": lambda: tar(("p/a", link("../..")), ("p/a/hostile", FILE)),
    "file through a link that stays": lambda: tar(("p/a", link("b")), ("p/b/c", FILE), ("p/a/hostile", FILE)),
    "file over a link": lambda: tar(("p/a", link("../../sentinel")), ("p/a", FILE)),
    "folder turned into a link": lambda: tar(("p/a/b", FILE), ("p/a", link("../.."))),
    "links that lead out together": lambda: tar(("p/q/r/l", link("../..")), ("p/m", link("q/r/l/../../sentinel"))),
    "link out through a chain": lambda: tar(*chain(30, "q/../.."), ("p/q/x", FILE)),
    "chain of links without end": lambda: tar(*chain(5000, "q"), ("p/q/x", FILE)),
    "links that lead to each other": lambda: tar(("p/a", link("b")), ("p/b", link("a")), ("p/c", link("c"))),
    "link of 100 kB": lambda: tar(("p/a", link("b/" * 50_000))),
    "hard link out": lambda: tar(("p/a", hard("/etc/passwd"))),
    "hard link that climbs": lambda: tar(("p/a", hard("../../sentinel"))),
    "hard link to a link out": lambda: tar(("p/l", link("../../sentinel")), ("p/a", hard("p/l"))),
    "hard link through a link": lambda: tar(("p/l", link("../..")), ("p/a", hard("p/l/sentinel"))),
    "hard link to itself": lambda: tar(("p/a", hard("p/a"))),
    "hard links that multiply": lambda: gzip.compress(
        tar(("p/a", bytes(MEGABYTE)), *((f"p/{number}", hard("p/a")) for number in range(2000)))
    ),
    # kinds
    "character device": lambda: tar(("p/a", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3})),
    "block device": lambda: tar(("p/a", {"type": tarfile.BLKTYPE, "devmajor": 8})),
    "fifo": lambda: tar(("p/a", {"type": tarfile.FIFOTYPE})),
    "kind that nobody knows": lambda: raw(header("p/a", b"s")),
    "setuid and setgid": lambda: tar(("p/a", {"type": tarfile.REGTYPE, "mode": 0o7777}), ("p/b", FILE)),
    "mode 000": lambda: tar(("p", {"type": tarfile.DIRTYPE, "mode": 0}), ("p/a", {"type": tarfile.REGTYPE, "mode": 0})),
    "owner that is not there": lambda: tar(
        ("p/a", {"type": tarfile.REGTYPE, "uid": 1 << 31, "uname": "nobody-at-all"})
    ),
    "sparse file of a terabyte": lambda: raw(
        pax({"GNU.sparse.major": b"0", "GNU.sparse.size": b"1099511627776", "GNU.sparse.map": b"0,1"}), header("p/a")
    ),
    "sparse file of many pieces": sparse_chain,
    "sparse file whose number has no end": sparse_numbers,
    # sizes and headers
    "size below zero": lambda: raw(header("p/a", digits=b"\xff" * 11 + b"\x00"), header("p/b")),
    "size below zero of a header": lambda: raw(header("p/a", b"x", digits=b"\xff" * 12), header("p/b")),
    "size of 8 exabytes": lambda: raw(header("p/a", digits=b"\x80" + b"\0" * 3 + b"\x7f" + b"\xff" * 7)),
    "size in pax of no number": lambda: raw(pax({"size": b"many"}), header("p/a")),
    "size in pax below zero": lambda: raw(pax({"size": b"-512"}), header("p/a"), header("p/b")),
    "header of 4 GB": lambda: raw(header("p/a", b"x", 1 << 32)),
    "headers one after the other": lambda: raw(*[pax({"comment": b"x"})] * 5000, header("p/a")),
    "long names one after the other": lambda: raw(*[header("L", b"L", 2) + padded(b"a\0")] * 5000, header("p/a")),
    "header that is no record": lambda: raw(header("p", b"x", 8), padded(b"99999999"), header("p/a")),
    "header whose record has no length": lambda: raw(header("p", b"x", 8), padded(b"0 path=x"), header("p/a")),
    "headers for all members": global_headers,
    "checksum that is wrong": lambda: raw(header("p/a").replace(b"p/a", b"p/b")),
    "nothing": lambda: b"",
    "only zeros": lambda: bytes(10 * BLOCK),
    "page of a server": lambda: b"<!doctype html><title>404</title>",
    "tar that is cut": lambda: tar(("p/a", bytes(100_000)))[:5000],
    "gz that is cut": lambda: gzip.compress(tar(("p/a", bytes(range(256)) * 4000)))[:-500],
    "gz of an xz of a tar": lambda: gzip.compress(lzma.compress(tar(("p/a", FILE)))),
    "gz with a tail": lambda: gzip.compress(tar(("p/a", FILE))) + b"tail that is no gz",
    # bombs
    "gz bomb": lambda: bomb(gzip.compress),
    "bz2 bomb": lambda: bomb(bz2.compress),
    "xz bomb": lambda: bomb(lzma.compress),
    "lzma bomb": lambda: lzma.compress(bytes(64 * MEGABYTE), lzma.FORMAT_ALONE),
    "zstd bomb": lambda: b"\x28\xb5\x2f\xfd\x04\x58" + b"\x54\x00\x00\x08\x00\x01\x00\xfc\xff\x39\x10\x02" * 1000,
    "xz that asks for all memory": xz_greedy,
    "a million files": lambda: many(b"0"),
    "a million folders": lambda: many(b"5"),
    "a million links": lambda: many(b"2"),
    # zips
    "zip: absolute name": lambda: zipped(("/tmp/hostile", FILE, 0)),
    "zip: name that climbs": lambda: zipped(("p/../../hostile", FILE, 0)),
    "zip: backslashes": lambda: zip_renamed(b"pX..X..Xhostile", b"p\\..\\..\\hostile"),
    "zip: drive": lambda: zip_renamed(b"C:Xhostile", b"C:\\hostile"),
    "zip: drive and slash": lambda: zipped(("C:/hostile", FILE, 0)),
    "zip: name with a zero": lambda: zip_renamed(b"pXhostile", b"p\0hostile"),
    "zip: name that begins with a zero": lambda: zip_renamed(b"Xhostile", b"\0hostile"),
    "zip: name that comes twice": lambda: zipped(("p/a", FILE, 0), ("p/a", b"other", 0)),
    "zip: link out": lambda: zipped(("p/a", b"../../sentinel", stat.S_IFLNK | 0o777)),
    "zip: file through a link": lambda: zipped(("p", b"..", stat.S_IFLNK | 0o777), ("p/hostile", FILE, 0)),
    "zip: link of a megabyte": lambda: zipped(("p/a", b"a/" * MEGABYTE, stat.S_IFLNK | 0o777)),
    "zip: device": lambda: zipped(("p/a", b"", stat.S_IFCHR | 0o666)),
    "zip: fifo": lambda: zipped(("p/a", b"", stat.S_IFIFO | 0o666)),
    "zip: socket": lambda: zipped(("p/a", b"", stat.S_IFSOCK | 0o666)),
    "zip: setuid": lambda: zipped(("p/a", FILE, stat.S_IFREG | 0o6755), ("p/b", FILE, 0)),
    "zip: bomb": lambda: zipped(*((f"p/{number}", bytes(16 * MEGABYTE), 0) for number in range(6))),
    "zip: bomb that lies of its size": zip_that_lies,
    "zip: names that overlap": lambda: zip_overlapping(90),
    "zip: zip in a zip in a zip": lambda: zipped(
        ("p/a.zip", zipped(("a.zip", zipped(("a", bytes(MEGABYTE), 0)), 0)), 0)
    ),
    "zip: a million files": lambda: zip_of_many(1_000_000),
    "zip: lzma inside": lambda: zipped(("p/a", FILE, 0), packing=zipfile.ZIP_LZMA),
    "zip: password": zip_with_password,
    "zip: cut": lambda: zipped(("p/a", bytes(range(256)) * 4000, 0))[:-100],
    "zip: only its end": lambda: b"PK\5\6" + bytes(18),
    "zip: list far away": lambda: zipped(("p/a", FILE, 0))[:-6] + struct.pack("<LH", 0xFFFFFFF0, 0),
}
