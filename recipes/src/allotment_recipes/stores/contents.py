# SPDX-License-Identifier: Apache-2.0
"""What a part is made of: names, modes, targets of links and the sha256 of each file, recorded when it is sealed.

The record is ``<root>/.sums/<part>.json``; its digest stands in the part's note.
"""

import contextlib
import hashlib
import json
import mmap
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from allotment.atomic import write_bytes
from allotment_recipes.store import HASH_DIGITS, ROOT_LENGTH

FOLDER: Final = ".sums"
_MAPPED: Final = 16 << 20  # bytes of a file that is not read into memory
_PART: Final = re.compile(rb"/([A-Za-z0-9][-A-Za-z0-9._+]{0,150}-[0-9a-f]{%d})(?![-A-Za-z0-9._+])" % HASH_DIGITS)


@dataclass
class Contents:
    """A part as it is on disk; ``paths`` are the parts of any store that its bytes name, itself perhaps among them."""

    entries: dict[str, str] = field(default_factory=dict)  # name -> mode and sha256, or link; "" is the part itself
    paths: set[str] = field(default_factory=set)

    @property
    def digest(self) -> str:
        """The sha256 of all entries."""
        return hashlib.sha256(_canonical(self.entries)).hexdigest()


def look(folder: Path) -> Contents:
    """Read all of a part."""
    found = Contents()
    for name, path in _walk(folder):
        status = path.lstat()
        mode = f"{stat.S_IMODE(status.st_mode):o}"
        if stat.S_ISLNK(status.st_mode):
            target = os.readlink(path)  # noqa: PTH115 (Path would take a './' out of it)
            found.entries[name] = f"-> {target}"
            found.paths |= parts_named(os.fsencode(target))
        elif stat.S_ISREG(status.st_mode):
            with path.open("rb") as file, _content(file, status.st_size) as data:
                found.entries[name] = f"{mode} {hashlib.sha256(data).hexdigest()}"
                found.paths |= parts_named(data)
        else:
            found.entries[name] = mode
    return found


def record(root: Path, name: str, contents: Contents) -> None:
    """Keep what a sealed part of the store at ``root`` is made of."""
    (root / FOLDER).mkdir(exist_ok=True)
    write_bytes(root / FOLDER / f"{name}.json", _canonical({"format": 1, "entries": contents.entries}))


def recorded(root: Path, name: str) -> dict[str, str] | None:
    """Return the entries of a part as they were when it was sealed; None when nobody has recorded them."""
    try:
        entries: dict[str, str] = json.loads((root / FOLDER / f"{name}.json").read_bytes())["entries"]
    except (OSError, ValueError, KeyError):
        return None
    return entries


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return what is wrong with each file of a part, by name, in letters that a terminal only shows."""
    changed = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    lines = [f"{name or 'the folder'} {_change(before.get(name), now.get(name))}" for name in changed]
    return [line if line.isprintable() else ascii(line)[1:-1] for line in lines]


def parts_named(data: bytes | mmap.mmap) -> set[str]:
    """Return the paths of parts, of whatever store, that stand in some bytes: roots of all stores are as long."""
    found = set()
    place = data.find(b"_/")
    while place >= 0:
        match = _PART.match(data, place + 1)
        root = data[max(0, place + 1 - ROOT_LENGTH) : place + 1]
        if match is not None and root.startswith(b"/") and len(root) == ROOT_LENGTH:
            found.add(os.fsdecode(root + b"/" + match[1]))
        place = data.find(b"_/", place + 1)
    return found


def _change(before: str | None, now: str | None) -> str:
    if before is None:
        return "is not of the part"
    if now is None:
        return "is missing"
    if before.startswith("-> ") or now.startswith("-> "):
        return f"was {before} and is {now}"
    (mode, *digest), (mode_now, *digest_now) = before.split(), now.split()
    if len(digest) != len(digest_now):
        return "is a folder now" if digest else "was a folder"
    return "has other bytes" if digest != digest_now else f"has the mode {mode_now}, not {mode}"


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    yield "", folder
    for place, folders, files in os.walk(folder, onerror=_raise):
        folders.sort()
        for name in (*folders, *files):
            path = Path(place, name)
            yield path.relative_to(folder).as_posix(), path


def _raise(error: OSError) -> None:
    raise error


@contextlib.contextmanager
def _content(file: BinaryIO, size: int) -> Iterator[bytes | mmap.mmap]:
    if size <= _MAPPED:
        yield file.read()
        return
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def _canonical(data: Any) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode("ascii")  # names may be no UTF-8
