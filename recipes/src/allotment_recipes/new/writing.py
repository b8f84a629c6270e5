# SPDX-License-Identifier: Apache-2.0
"""Names that are right, and files that are written all or not at all."""

import contextlib
import keyword
import os
import re
from collections.abc import Mapping
from pathlib import Path

from allotment.atomic import write_bytes
from allotment.errors import AllotmentError


def check_name(name: str, what: str, example: str) -> None:
    """Refuse a name that is no name of a file, a section and a module at once."""
    fixed = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not re.fullmatch(r"[a-z][a-z0-9]*([._-][a-z0-9]+)*", name):
        good = fixed if re.match(r"[a-z]", fixed) else example
        raise AllotmentError(f"{name!r} is not a name for a {what}", f"Begin with a small letter, go on like {good!r}")
    if keyword.iskeyword(module_name(name)):
        raise AllotmentError(f"{name!r} is a word of Python's", f"Choose another, like '{name}-file'")


def module_name(name: str) -> str:
    """Return the Python module for a name."""
    return re.sub(r"[.-]", "_", name)


def write_new(files: Mapping[Path, str], changed: Mapping[Path, str]) -> None:
    """Write new files and then those that get a line; when one can't be written, all is as it was."""
    there = [path for path in files if os.path.lexists(path)]
    if there:
        raise AllotmentError(f"{there[0]} exists already", "Choose another name, or move it away")
    written: list[Path] = []
    before: dict[Path, bytes] = {}
    folders: list[Path] = []
    try:
        for path, text in files.items():
            folders += [parent for parent in path.parents if not parent.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x") as file:
                written.append(path)  # ours only from here on
                file.write(text)
        for path, text in changed.items():
            before[path] = path.read_bytes()
            write_bytes(path, text.encode(), path.stat().st_mode & 0o7777)
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        for path, data in before.items():
            with contextlib.suppress(OSError):
                write_bytes(path, data, path.stat().st_mode & 0o7777)
        for folder in sorted(set(folders), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise AllotmentError(f"{error.filename} can't be written: {error.strerror}", "Check the folder") from error
