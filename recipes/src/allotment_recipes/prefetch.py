# SPDX-License-Identifier: Apache-2.0
"""Fetch the sources of all parts at the same time, before the first one is built: what can't be had is told at once."""

import functools
import os
from collections.abc import Iterable, Iterator
from typing import Any

from allotment.blobs import BlobStore
from allotment_recipes import sources
from allotment_recipes.cached_part import not_cached
from allotment_recipes.shared_store import is_whole
from allotment_recipes.wheels import Pin, fetch_wheel


def prefetch(recipes: Iterable[Any], blobs: BlobStore) -> None:
    """Bring the sources of those parts that are to be built; sources that are in ``blobs`` are not asked for."""
    lacking = not_cached([recipe for recipe in recipes if not _is_there(recipe)])
    missing = [source for recipe in lacking for source in sources_of(recipe) if source.sha256 not in blobs]
    pins = dict.fromkeys(pin for recipe in lacking for pin in getattr(recipe, "pins", ()) if isinstance(pin, Pin))
    sources.fetch_all(missing, blobs, others=[functools.partial(fetch_wheel, pin, blobs) for pin in pins])


def sources_of(recipe: Any) -> Iterator[sources.Source]:
    """Yield what a recipe will fetch: its attribute ``source``, and that of each of its ``patches``."""
    for holder in (recipe, *getattr(recipe, "patches", ())):
        source = getattr(holder, "source", None)
        if isinstance(source, sources.Source):
            yield source


def _is_there(recipe: Any) -> bool:
    """Whether a part is built: by its attribute ``location``, or else the option; None is one that has no folder."""
    location = getattr(recipe, "location", getattr(recipe, "raw", {}).get("location"))
    return location is not None and os.path.isabs(location) and is_whole(location)  # noqa: PTH117 (asked of every part)
