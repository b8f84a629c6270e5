# SPDX-License-Identifier: Apache-2.0
"""Why a part was built the last time, and where it is: told from the record of its release alone."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from allotment.errors import AllotmentError, nearest
from allotment_recipes.explain import inputs
from allotment_recipes.explain.differences import Difference, differences, first_of, names_of
from allotment_recipes.shared_store import is_whole


@dataclass(frozen=True)
class History:
    """What is known of one part of a release."""

    part: str
    entry: inputs.Entry
    why: tuple[Difference, ...]  # how its inputs differ from those before; nothing for a part that was always so
    users: tuple[str, ...]  # the parts that refer to it
    references: tuple[str, ...]  # and those that it refers to
    is_there: bool
    note: Mapping[str, object]  # what the store has noted: seconds, bytes


def read_history(folder: Path, part: str) -> History:
    """Return what the last build of the release in ``folder`` recorded of a part."""
    kept = inputs.read(folder)
    if not kept:
        raise AllotmentError(f"{folder} has no record of a build", "Build the release once, or correct --folder")
    if part not in kept:
        raise AllotmentError(f"the release in {folder} has no part '{part}'", nearest(part, tuple(kept)))
    entry = kept[part]
    before = entry["before"]
    why = () if before is None else tuple(first_of(differences(before, entry, names_of(kept))))
    location = Path(entry["location"]) if entry["location"] else None
    return History(
        part,
        entry,
        why,
        tuple(sorted(name for name, other in kept.items() if part in other["references"])),
        tuple(entry["references"]),
        location is None or is_whole(location),
        {} if location is None else _note(location),
    )


def _note(location: Path) -> Mapping[str, object]:
    try:
        found: Mapping[str, object] = json.loads((location.parent / ".built" / f"{location.name}.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found
