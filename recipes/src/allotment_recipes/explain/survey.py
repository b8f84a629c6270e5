# SPDX-License-Identifier: Apache-2.0
"""What a build would find: of each part its inputs, whether it is there or in a cache, and how long it took."""

from pathlib import Path
from typing import Any

from allotment_recipes.explain.inputs import entries
from allotment_recipes.graph.durations import expected
from allotment_recipes.shared_store import is_whole
from allotment_recipes.store import HASH_DIGITS


def survey(buildout: Any) -> dict[str, Any]:
    """Return what is found of each part; the driver has prepared them. Nothing is built, or written to a store."""
    now = entries(buildout)
    places = {
        name: Path(entry["location"])
        for name, entry in now.items()
        if entry["location"].endswith(f"-{entry['hash'][:HASH_DIGITS]}")  # others are files, or folders of somebody
    }
    missing = {name: place for name, place in places.items() if not is_whole(place)}
    cached = _cached(buildout.run, {name: (place, now[name]["hash"]) for name, place in missing.items()})
    for name, entry in now.items():
        entry["is_there"] = name not in missing if name in places else None
        entry["is_cached"] = name in cached
        entry["expected"] = expected(places[name].parent, name) if name in places else 0.0
    return {"parts": now, "references": {name: list(parts) for name, parts in buildout.graph().items()}}


def _cached(run: Any, missing: dict[str, tuple[Path, str]]) -> set[str]:
    """Return the parts that a binary cache has."""
    if not run.caches or not missing:
        return set()
    from allotment_recipes.binary_cache.client import look_up
    from allotment_recipes.binary_cache.entry import Wanted

    run.folder.mkdir(parents=True, exist_ok=True)  # where it is noted what caches have not
    found = look_up(run, [Wanted(place, digest) for place, digest in missing.values()])
    return {name for name, (place, _) in missing.items() if place.name in found}
