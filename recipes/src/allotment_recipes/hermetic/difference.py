# SPDX-License-Identifier: Apache-2.0
"""How two folders that should hold the same differ, so that a person sees why."""

import difflib
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SAMPLE: Final = 8192  # bytes without a NUL make a file a text
_LINES: Final = 12  # of a text that differs
_PLACES: Final = 3  # of other files
_ROW: Final = 16  # bytes
_LONGEST: Final = 200  # characters of a line
_PATIENCE: Final = 120.0  # seconds for diffoscope


@dataclass(frozen=True)
class Difference:
    """One file, link or folder that is not the same."""

    path: str  # from the part's folder
    what: str
    details: tuple[str, ...] = ()


def compare(before: Path, after: Path) -> list[Difference]:
    """Return what differs between two folders in names, modes, links and bytes, by path."""
    old, new = _paths(before), _paths(after)
    found = []
    for path in sorted(old | new):
        if path not in new:
            found.append(Difference(path, "is only in the store"))
        elif path not in old:
            found.append(Difference(path, "is only in the new build"))
        elif (difference := _compare(path, before / path, after / path)) is not None:
            found.append(difference)
    return found


def by_diffoscope(before: Path, after: Path) -> list[str]:
    """Return what diffoscope says of two files that differ; nothing where it is not installed."""
    program = shutil.which("diffoscope")
    if program is None:
        return []
    command = [program, "--text", "-", "--max-report-size", "20000", str(before), str(after)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines()


def _paths(folder: Path) -> set[str]:
    return {
        Path(place, name).relative_to(folder).as_posix()
        for place, folders, files in os.walk(folder)
        for name in (*folders, *files)
    }


def _compare(path: str, before: Path, after: Path) -> Difference | None:
    old, new = before.lstat(), after.lstat()
    if stat.S_IFMT(old.st_mode) != stat.S_IFMT(new.st_mode):
        return Difference(path, f"is {_kind(old.st_mode)} in the store and {_kind(new.st_mode)} in the new build")
    if stat.S_ISLNK(old.st_mode):
        leads = f"leads to {before.readlink()} in the store and to {after.readlink()} in the new build"
        return Difference(path, leads) if before.readlink() != after.readlink() else None
    if old.st_mode != new.st_mode:
        modes = (stat.S_IMODE(status.st_mode) for status in (old, new))
        return Difference(path, "has mode {:o} in the store and {:o} in the new build".format(*modes))
    if stat.S_ISREG(old.st_mode) and before.read_bytes() != after.read_bytes():
        return Difference(path, _sizes(old.st_size, new.st_size), tuple(_details(before, after)))
    return None


def _kind(mode: int) -> str:
    return "a link" if stat.S_ISLNK(mode) else "a folder" if stat.S_ISDIR(mode) else "a file"


def _sizes(old: int, new: int) -> str:
    return f"differs, {old} bytes each" if old == new else f"has {old} bytes in the store and {new} in the new build"


def _details(before: Path, after: Path) -> Iterator[str]:
    if told := by_diffoscope(before, after):
        yield from told
        return
    old, new = before.read_bytes(), after.read_bytes()
    if b"\0" in old[:_SAMPLE] or b"\0" in new[:_SAMPLE]:
        yield from _rows(old, new)
        return
    first, second = (data.decode(errors="replace").splitlines() for data in (old, new))
    lines = list(difflib.unified_diff(first, second, "store", "new", lineterm="", n=1))
    yield from (line[:_LONGEST] for line in lines[:_LINES])
    if len(lines) > _LINES:
        yield f"and {len(lines) - _LINES} more lines"


def _rows(old: bytes, new: bytes) -> Iterator[str]:
    """Yield the first places where two files differ, in hexadecimal and as text."""
    rows = [
        start
        for start in range(0, min(len(old), len(new)), _ROW)
        if old[start : start + _ROW] != new[start : start + _ROW]
    ]
    for start in rows[:_PLACES]:
        for sign, data in (("-", old), ("+", new)):
            piece = data[start : start + _ROW]
            shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
            yield f"{sign} {start:08x}  {piece.hex(' '):<{3 * _ROW}} {shown}"
    if len(rows) > _PLACES:
        yield f"and {len(rows) - _PLACES} more rows of {_ROW} bytes"
