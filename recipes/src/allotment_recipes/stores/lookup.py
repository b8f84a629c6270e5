# SPDX-License-Identifier: Apache-2.0
"""Several stores: what is whole in a lower one, which is only read, is used where it is."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from allotment.errors import AllotmentError, MachineError
from allotment_recipes.shared_store import Store
from allotment_recipes.store import padded_root


def find(roots: Sequence[Path], folder_name: str) -> Path | None:
    """Return where a part is, whole, in the first of the stores at ``roots`` that has it; None when none does."""
    for root in roots:
        place, store = root / folder_name, Store(root)
        if store.holds(place) and not store.lacks_others(place):
            return place
    return None


def lower_roots(folders: Iterable[Path], own: Path | None) -> tuple[Path, ...]:
    """Return the roots of the stores in ``folders``, which are below ``own``; one that can't be used is an error."""
    found = []
    for folder in folders:
        if not folder.is_dir():
            raise AllotmentError(f"the system store {folder} does not exist", "Correct its path, or leave it out")
        root = padded_root(folder)
        if root == own:
            raise AllotmentError(f"the system store {folder} is the store to build in", "Name it once")
        if Store(root).is_moved:
            raise MachineError(
                f"the system store {folder} was moved: its parts work only where they were built",
                "Move it back, or leave it out",
            )
        found.append(root)
    return tuple(dict.fromkeys(found))
