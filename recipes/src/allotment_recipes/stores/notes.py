# SPDX-License-Identifier: Apache-2.0
"""To which other parts a part refers: by its note in ``.built``, and where that is missing by its own bytes."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allotment_recipes.stores.contents import look


@dataclass(frozen=True)
class References:
    """The parts that one part needs."""

    names: frozenset[str]  # in whatever store they are
    paths: frozenset[str]  # those of other stores that its bytes name


def read_note(root: Path, name: str) -> dict[str, Any] | None:
    """Return how a part was built, as its builder has noted it; None when that is missing or damaged."""
    try:
        note = json.loads((root / ".built" / f"{name}.json").read_bytes())
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) else None


def is_unregistered(root: Path, name: str) -> bool:
    """Whether a part is older than the registration of releases, which came with the digest: nobody knows its users."""
    return not (read_note(root, name) or {}).get("digest")


def references_of(root: Path, name: str) -> References:
    """Return what a whole part of the store at ``root`` refers to."""
    note = read_note(root, name)
    try:
        if note is not None and note.get("digest"):
            return References(frozenset(note["references"]), frozenset(note.get("outside", ())))
        noted = frozenset(note["references"]) if note is not None else frozenset()
    except (KeyError, TypeError):
        noted = frozenset()
    inside, outside = split(root, name, look(root / name).paths)  # of a part of an older version, or a damaged note
    return References(noted | inside, outside)


def split(root: Path, name: str, paths: set[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Tell the parts that a part's bytes name apart: names in its own store, and paths in others."""
    own = f"{root}/"
    inside = {path[len(own) :] for path in paths if path.startswith(own)} - {name}
    return frozenset(inside), frozenset(path for path in paths if not path.startswith(own))
