# SPDX-License-Identifier: Apache-2.0
"""What writing a file or link changes, for people: which path, its mode, and the lines that differ."""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

LIMIT: Final = 64 << 10  # bytes of a file whose lines are compared
LINES: Final = 40  # of a difference that are shown
_OTHERS: Final = 0o077  # who may do anything with a file but its owner


@dataclass(frozen=True)
class File:
    """A regular file."""

    data: bytes
    mode: int
    section: str = ""  # that writes it
    profile: str = ""  # that has the section


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str
    section: str = ""  # that writes it
    profile: str = ""  # that has the section


@dataclass(frozen=True)
class Change:
    """One path that is not as it was; ``details`` are lines: a unified diff, unless the file is private or binary."""

    kind: Literal["new", "changed", "removed"]
    path: Path
    section: str  # that writes it; empty when it is removed
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join([f"{self.kind} {self.path}", *(f"  {line}" for line in self.details)])


def found(path: Path) -> File | Link | None:
    """Return what is at ``path``; None when there is nothing, or nothing that can be read."""
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            return Link(os.readlink(path))  # noqa: PTH115 (Path would take a './' out of it)
        if stat.S_ISREG(status.st_mode):
            return File(path.read_bytes(), stat.S_IMODE(status.st_mode))
    except OSError:
        pass
    return None


def compare(path: Path, entry: File | Link, scrub: Callable[[str], str]) -> Change | None:
    """Return what writing ``entry`` changes, or None when it is there already; ``scrub`` blanks secrets out."""
    before = found(path)
    match before, entry:
        case File(old, mode), File(new, now):
            if (old, mode) == (new, now):
                return None
            lines = [f"mode {mode:04o}, now {now:04o}"] if mode != now else []
            is_private = not mode & _OTHERS or not now & _OTHERS
            lines += [] if old == new else ["it is private"] if is_private else _difference(old, new, scrub)
            return Change("changed", path, entry.section, tuple(lines))
        case Link(old_target), Link(new_target):
            if old_target == new_target:
                return None
            return Change("changed", path, entry.section, (f"-> {old_target}, now -> {new_target}",))
        case _, _:
            kind: Literal["new", "changed"] = "changed" if os.path.lexists(path) else "new"
            return Change(kind, path, entry.section, (f"-> {entry.target}",) if isinstance(entry, Link) else ())


def _difference(old: bytes, new: bytes, scrub: Callable[[str], str]) -> Iterator[str]:
    if max(len(old), len(new)) > LIMIT:
        yield f"{len(old)} bytes, now {len(new)}"
        return
    try:
        before, after = (scrub(data.decode()).splitlines() for data in (old, new))
    except UnicodeDecodeError:
        yield "it is not text"
        return
    import difflib

    lines = list(difflib.unified_diff(before, after, lineterm="", n=1))[2:]  # without the two lines of names
    yield from lines[:LINES]
    if len(lines) > LINES:
        yield f"... {len(lines) - LINES} lines more"
