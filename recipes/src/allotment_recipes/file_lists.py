# SPDX-License-Identifier: Apache-2.0
"""Lists of files for one folder: a path, or ``name = path``, a line."""

import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from allotment.options import OptionProblem

_NAMED = re.compile(r"([^=]*?)\s+=(?:\s+(.*))?|([^=/\s][^=\s]*)=(/.*)")


def read_file_list(lines: Iterable[str], option: str) -> dict[str, str]:
    """Map the name that each file gets in the folder to the path; without one it is the last word of the path.

    A name may stand in a folder below. Two files of one name are an error.
    """
    found: dict[str, str] = {}
    for line in lines:
        name, path = _split(line)
        parts = PurePosixPath(name).parts
        if not path or not parts or parts[0] == "/" or ".." in parts:
            raise OptionProblem(option, f"{line!r} is not a path, nor 'name = path'", "Write it like: psql = /bin/psql")
        name = os.path.join(*parts)  # noqa: PTH118 (a name, no path)
        if found.setdefault(name, path) != path:
            fix = f"Give one another name: other = {path}"
            raise OptionProblem(option, f"{found[name]} and {path} are both called '{name}'", fix)
    return found


def refuse_same(option: str, path: Path, target: Path) -> None:
    """Raise when what is made at ``target`` would take the place of what it is made of."""
    if os.path.realpath(path) == os.path.join(os.path.realpath(target.parent), target.name):  # noqa: PTH118
        raise OptionProblem(option, f"{path} is in target-directory itself", f"Give it another name: other = {path}")


def _split(line: str) -> tuple[str, str]:
    match = _NAMED.fullmatch(line.strip())
    if match is not None:
        return (match[3], match[4]) if match[3] else (match[1], (match[2] or "").strip())
    return PurePosixPath(line).name, line.strip()
