# SPDX-License-Identifier: Apache-2.0
"""A store of built parts that stays from one run to the next: only what still is as it was built may stay in it."""

import json
from pathlib import Path

from allotment_recipes.shared_store import Store, remove
from allotment_recipes.store import padded_root
from allotment_recipes.stores.collect import finish, remove_aside, set_aside


def prepare(folder: Path) -> list[str]:
    """Make the folder ready for builds; return the parts that were removed because they are damaged.

    What was built for another root, before the folder was moved, is removed first. Builds that were cut off are no
    matter here: the store itself sees to them.
    """
    root = padded_root(folder)
    if Store(root).is_moved:
        remove(folder)
    folder.mkdir(parents=True, exist_ok=True)  # nodes have links to it
    if root.is_dir():
        finish(root)  # of a run that was killed while it removed parts
    return [note.stem for note in sorted(root.glob(".built/*.json")) if _is_removed(root, note)]


def _is_removed(root: Path, note: Path) -> bool:
    """Remove a part, and the note on it, when its files do not have the size that its builder has noted.

    It loses its name first, so that nobody takes for whole what a killed run has left of it.
    """
    location = root / note.stem
    if not Store(root).holds(location) or _size(location) == _noted_size(note):
        return False
    if not set_aside(root, location.name):  # another run builds it anew
        return False
    remove_aside(root, location.name)
    return True


def _size(location: Path) -> int:
    return sum(path.lstat().st_size for path in location.rglob("*") if path.is_file())


def _noted_size(note: Path) -> int | None:
    try:
        size: int = json.loads(note.read_bytes())["bytes"]
        return size
    except (ValueError, KeyError):
        return None  # the note is damaged itself
