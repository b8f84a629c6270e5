# SPDX-License-Identifier: Apache-2.0
"""Which profiles a path means."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from allotment.errors import AllotmentError
from allotment_recipes.closure import is_ignored

NAMES = frozenset({"software.cfg", "buildout.cfg"})


def profiles(paths: Iterable[Path]) -> list[Path]:
    """Return the profiles that the paths name: files as they are, of folders every software.cfg and buildout.cfg."""
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(_below(path.absolute()))
            if not inside:
                names = " or ".join(sorted(NAMES))
                raise AllotmentError(
                    f"{path} has no {names}, nor has a folder below it", "Name a profile, or its folder"
                )
            found.update(dict.fromkeys(inside))
        elif path.is_file():
            found[path.absolute()] = None
        else:
            raise AllotmentError(f"{path} does not exist", "Name a profile, or its folder")
    return list(found)


def _below(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            if not is_ignored(path.name):
                yield from _below(path)
        elif path.name in NAMES:
            yield path
