# SPDX-License-Identifier: Apache-2.0
"""Builds a part of the store again, beside it, to see whether the same comes out.

For the second build folders of its own stand in the places of the part and of what it was built in, so that everything
has the name that it had the first time; the part itself is not touched, and nobody else sees anything of it.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from allotment.errors import AllotmentError, MachineError, nearest
from allotment_recipes.compiled_part import CompiledPart
from allotment_recipes.hermetic.difference import Difference, compare
from allotment_recipes.hermetic.sandbox import call_with_mounts, refusal
from allotment_recipes.shared_store import Place, remove, seal


class _Compared(Exception):
    """Leaves the place of the second build, which is removed then."""


def build_again(buildout: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """Build parts again and return how they differ; by default all that are compiled and in the store."""
    if why := refusal():
        raise MachineError(f"parts can't be built again beside the store: {why}", "Check them on another machine")
    return [
        {
            "part": recipe.name,
            "location": str(recipe.location),
            "differences": [asdict(item) for item in _check(recipe)],
        }
        for recipe in _wanted(buildout, names)
    ]


def _wanted(buildout: Mapping[str, Any], names: Sequence[str]) -> Iterator[CompiledPart[Any]]:
    found = {name: buildout[name].recipe for name in getattr(buildout, "_parts", ())}
    compiled = {name: recipe for name, recipe in found.items() if isinstance(recipe, CompiledPart)}
    for name in names or compiled:
        if name not in compiled:
            raise AllotmentError(f"--check: '{name}' is no part that is compiled here", nearest(name, list(compiled)))
        if not compiled[name].store.holds(compiled[name].location):
            raise AllotmentError(f"--check: [{name}] is in a store that is only read", "Check it where it was built")
        yield compiled[name]


def _check(recipe: CompiledPart[Any]) -> list[Difference]:
    """Return how what is built now differs from what is in the store."""
    found: list[Difference] = []
    beside = recipe.location.with_name(f"{recipe.location.name}.again")
    recipe.logger.info("building %s again", recipe.location.name)
    with (
        contextlib.suppress(_Compared),
        recipe.store.building(beside, f"{recipe.name} of {recipe.folder}, again", recipe.logger.info) as place,
    ):
        if place is not None:
            try:
                found += _compare(recipe, place)
            finally:
                remove(place.work)
        raise _Compared
    recipe.logger.info("%s is %s", recipe.location.name, "not the same" if found else "the same")
    return found


def _compare(recipe: CompiledPart[Any], place: Place) -> list[Difference]:
    """Build a part in ``place``, which bears the part's own names meanwhile."""
    folder, work = place.location.resolve(), recipe.store.work(recipe.location)
    (place.work / work.name).mkdir()
    again = Place(recipe.location, work, place.log, place.lock)
    mounts = {folder: recipe.location, place.work: work.parent}
    call_with_mounts(mounts, lambda: recipe.build(recipe.open_workshop(again), again))
    seal(folder)
    return compare(recipe.location, folder)
