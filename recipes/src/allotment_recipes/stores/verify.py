# SPDX-License-Identifier: Apache-2.0
"""Whether parts are as they were when they were sealed; damaged ones can be removed, so that they are built anew."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from allotment_recipes.shared_store import is_whole
from allotment_recipes.stores import contents, roots
from allotment_recipes.stores.collect import finish, remove_aside, set_aside, store_of_user
from allotment_recipes.stores.keeping import part_names
from allotment_recipes.stores.notes import read_note

_INTERVAL = 3.0  # seconds between two lines that say how far it is


@dataclass(frozen=True)
class Verified:
    """What was found of one part."""

    name: str
    problems: tuple[str, ...]  # one for each file
    is_recorded: bool = True  # whether anybody has recorded what it was made of


def verify(root: Path, say: Callable[[str], None] = lambda line: None) -> Iterator[Verified]:
    """Compare each part of a store with its record; yields those too that are whole."""
    names = part_names(root)
    told = time.monotonic()
    for number, name in enumerate(names, 1):
        if time.monotonic() - told > _INTERVAL:
            told = time.monotonic()
            say(f"{number} of {len(names)}: {name}")
        found = verify_part(root, name)
        if not found.problems or is_whole(root / name):  # else a collection has taken it meanwhile
            yield found


def repair(root: Path, names: list[str]) -> list[str]:
    """Remove parts, which the next build makes or fetches anew; return those that are gone."""
    with store_of_user(root):
        finish(root)
        (root / roots.FOLDER).mkdir(exist_ok=True)
        with roots.locked(root, alone=True):
            moved = [name for name in names if is_whole(root / name) and set_aside(root, name)]
        for name in moved:
            remove_aside(root, name)
    return moved


def verify_part(root: Path, name: str) -> Verified:
    """Compare one part of a store with its record."""
    before = contents.recorded(root, name)
    digest = (read_note(root, name) or {}).get("digest", "")
    if before is None:
        problems = ("the record of its files is missing or damaged",) if digest else ()
        return Verified(name, problems, is_recorded=bool(digest))
    if digest and contents.Contents(before).digest != digest:
        return Verified(name, ("the record of its files was changed",))
    try:
        now = contents.look(root / name).entries
    except OSError as error:
        return Verified(name, (f"{error.filename} can't be read: {error.strerror}",))
    return Verified(name, tuple(contents.differences(before, now)))
