# SPDX-License-Identifier: Apache-2.0
"""Parts of the shared store that a build takes from the binary caches it was given; without one, nothing happens."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from allotment_recipes.graph.events import tell
from allotment_recipes.shared_store import Store


def not_cached(recipes: Sequence[Any]) -> Sequence[Any]:
    """Return those parts that no binary cache offers: they have to be built."""
    run = next((recipe.run for recipe in recipes if getattr(getattr(recipe, "run", None), "caches", ())), None)
    if run is None:
        return recipes
    from allotment_recipes.binary_cache.client import look_up
    from allotment_recipes.binary_cache.entry import Wanted

    wanted = [(recipe, location) for recipe in recipes if (location := _shared_location(recipe)) is not None]
    found = look_up(run, [Wanted(location, digest_of(recipe)) for recipe, location in wanted])
    offered = {id(recipe) for recipe, location in wanted if location.name in found}
    return [recipe for recipe in recipes if id(recipe) not in offered]


def take_cached(recipe: Any, store: Store, location: Path) -> bool:
    """Fill the folder of a part that is about to be built from a binary cache; return whether one had it."""
    if not recipe.run.caches or _shared_location(recipe) != location:
        return False
    from allotment_recipes.binary_cache.client import fetch_part

    note = fetch_part(recipe.run, digest_of(recipe), location, location.resolve())
    if note is None:
        return False
    store.note(location, note)
    tell(recipe.run, recipe.name, "fetched", seconds=note["fetched"]["seconds"])
    return True


def digest_of(recipe: Any) -> str:
    """Return the hash of a part's inputs, of which its folder's name has the first digits; upstream knows none."""
    hasher = getattr(recipe.buildout, "part_hash", None)
    return hasher(recipe.name, recipe) if hasher is not None else ""


def _shared_location(recipe: Any) -> Path | None:
    location = getattr(recipe, "location", None)
    is_shared = isinstance(location, Path) and location.parent == recipe.run.store_root
    return location if is_shared else None
