# SPDX-License-Identifier: Apache-2.0
"""Copies of an instance's data, each in a folder named by its time, with the checksums of all its files.

<folder>/20261123T103000.123456Z/files/...      what the commands have written
                                 SHA256SUMS     as sha256sum writes and checks it
                                 export.json    format, generation, files, bytes, sha256 of SHA256SUMS
"""

import contextlib
import datetime
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from allotment.atomic import read_limited
from allotment.errors import AllotmentError
from allotment_recipes.resilience.locks import Busy, locked

FORMAT: Final = 1
FILES, CHECKSUMS, HEAD = "files", "SHA256SUMS", "export.json"
_NAME: Final = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z")
_TIME: Final = "%Y%m%dT%H%M%S.%fZ"
_REMOVED: Final = ".removed-"
_LIMIT: Final = 1 << 16  # bytes of export.json
_LIST_LIMIT: Final = 1 << 28  # bytes of SHA256SUMS, of some two million files: it is read whole
_ESCAPES: Final = ((b"\\", b"\\\\"), (b"\n", b"\\n"), (b"\r", b"\\r"))


@dataclass(frozen=True)
class Generation:
    """A whole copy."""

    name: str
    files: int
    bytes: int


def name_at(moment: float, after: str = "") -> str:
    """Return the name of a copy made at ``moment`` (UTC epoch); later than ``after`` even if the clock went back."""
    time = datetime.datetime.fromtimestamp(moment, datetime.UTC)
    if after:
        time = max(time, _time_of(after) + datetime.timedelta(microseconds=1))
    return time.strftime(_TIME)


def made_at(name: str) -> float:
    """Return when a copy was made, in seconds since the UTC epoch."""
    return _time_of(name).timestamp()


def is_name(text: str) -> bool:
    """Whether this is a copy's name."""
    try:
        return bool(_NAME.fullmatch(text)) and bool(_time_of(text))
    except ValueError:
        return False


def names_in(folder: Path) -> list[str]:
    """Return the names of the whole copies in a folder, the oldest first."""
    try:
        return sorted(entry.name for entry in os.scandir(folder) if is_name(entry.name) and entry.is_dir())
    except FileNotFoundError:
        return []


@contextlib.contextmanager
def held(folder: Path, newest: Callable[[], str]) -> Iterator[Path]:
    """Keep a copy from being removed; ``newest`` names it, and another one when the first was removed just then."""
    with contextlib.ExitStack() as locks:
        while True:
            path = folder / newest()
            try:
                locks.enter_context(locked(path, is_folder=True, is_shared=True, is_inherited=True))
                path.stat()  # until it was locked it could go
                break
            except (FileNotFoundError, Busy):
                if path.name == newest():
                    raise
        yield path


def clean(folder: Path) -> None:
    """Remove what a killed removal has left."""
    for entry in folder.glob(f"{_REMOVED}*"):
        remove_tree(entry)


def remove(folder: Path, name: str) -> None:
    """Remove a copy, unless somebody is reading it: then the next one who removes does it."""
    with contextlib.suppress(Busy), locked(folder / name, is_folder=True):
        aside = folder / f"{_REMOVED}{name}"  # half a copy never has a copy's name
        (folder / name).rename(aside)
        remove_tree(aside)


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it, also read-only folders; links are not followed."""
    folder.chmod(0o700)
    for name, folders, _ in os.walk(folder):
        for path in (Path(name, item) for item in folders):  # before os.walk looks into them
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(folder)


def seal(folder: Path, name: str) -> Generation:
    """Write the checksums of what stands in ``files``; only regular files and folders may."""
    total, lines = 0, []
    for path in _files(folder / FILES):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            total += file.tell()
        lines.append(_line(digest, path.relative_to(folder)))
    data = b"".join(lines)
    if len(data) > _LIST_LIMIT:
        raise AllotmentError(f"{len(lines)} files are too many for one copy", "Pack them with tar")
    (folder / CHECKSUMS).write_bytes(data)
    made = Generation(name, len(lines), total)
    head = {"format": FORMAT, "generation": name, "files": made.files, "bytes": made.bytes}
    (folder / HEAD).write_text(json.dumps({**head, "checksums": hashlib.sha256(data).hexdigest()}) + "\n")
    return made


def verify(folder: Path) -> Generation:
    """Return what a copy is, after reading all of it; the first file that is missing, strange or other is an error."""
    head = _head(folder)
    listed = folder / CHECKSUMS
    data = read_limited(listed, _LIST_LIMIT)
    if data is None:
        raise _broken(listed, "is missing")
    if hashlib.sha256(data).hexdigest() != head.get("checksums"):
        raise _broken(listed, "is not the list that was made with the copy")
    expected = set(data.splitlines(keepends=True))
    count = len(expected)
    total = 0
    for path in _files(folder / FILES):
        with path.open("rb") as file:
            line = _line(hashlib.file_digest(file, "sha256").hexdigest(), path.relative_to(folder))
            total += file.tell()
        if line not in expected:
            raise _broken(path, "has not the checksum that is listed")
        expected.remove(line)
    for line in sorted(expected):
        raise _broken(folder / os.fsdecode(line.strip()[66:]), "is missing")
    if (head["files"], head["bytes"]) != (count, total):
        raise _broken(folder / HEAD, "tells another size")
    return Generation(head["generation"], count, total)


def _head(folder: Path) -> dict[str, Any]:
    path = folder / HEAD
    data = read_limited(path, _LIMIT)
    if data is None:
        raise _broken(path, "is missing")
    try:
        head = json.loads(data)
        is_right = isinstance(head, dict) and is_name(head["generation"])
        is_right = is_right and isinstance(head["files"], int) and isinstance(head["bytes"], int)
    except (ValueError, KeyError, TypeError, RecursionError):
        is_right, head = False, {}
    if is_right and head.get("format") != FORMAT:
        raise AllotmentError(f"{path} has format {head.get('format')!r}, not {FORMAT}", "Update this node")
    if not is_right:
        raise _broken(path, "is not what an export writes")
    return dict(head)


def _files(folder: Path) -> Iterator[Path]:
    """Give all files below a folder, however deep, in order."""
    waiting = _entries(folder)
    while waiting:
        entry = waiting.pop()
        if entry.is_dir(follow_symlinks=False):
            waiting += _entries(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path)
        else:
            raise AllotmentError(f"{entry.path} is neither file nor folder", "Pack links and the like with tar")


def _entries(folder: Path) -> "list[os.DirEntry[str]]":
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name, reverse=True)
    except OSError as error:
        raise _broken(folder, f"can't be read: {error.strerror}") from error


def _line(digest: str, path: Path) -> bytes:
    name = os.fsencode(path)
    escaped = name
    for sign, text in _ESCAPES:
        escaped = escaped.replace(sign, text)
    return (b"\\" if escaped != name else b"") + digest.encode() + b"  " + escaped + b"\n"


def _broken(path: Path, problem: str) -> AllotmentError:
    return AllotmentError(f"{path} {problem}", "This copy is not used; make another one")


def _time_of(name: str) -> datetime.datetime:
    return datetime.datetime.strptime(name, _TIME).replace(tzinfo=datetime.UTC)
