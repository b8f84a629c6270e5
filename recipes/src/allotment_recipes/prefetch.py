# SPDX-License-Identifier: Apache-2.0
"""Fetch the sources of all parts at the same time, before the first one is built: what can't be had is told at once."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from allotment.blobs import BlobStore
from allotment_recipes import sources


def prefetch(recipes: Iterable[Any], blobs: BlobStore) -> None:
    """Bring the sources of those parts that are not built yet; sources that are in ``blobs`` are not asked for."""
    missing = [source for recipe in recipes for source in sources_of(recipe) if source.sha256 not in blobs]
    sources.fetch_all(missing, blobs)


def sources_of(recipe: Any) -> Iterator[sources.Source]:
    """Yield what a recipe will fetch: its attribute ``source``, and that of each of its ``patches``.

    A part that is there already needs none; a link is one that somebody else is building.
    """
    location = Path(getattr(recipe, "raw", {}).get("location", ""))
    if location.is_absolute() and location.is_dir() and not location.is_symlink():
        return
    for holder in (recipe, *getattr(recipe, "patches", ())):
        source = getattr(holder, "source", None)
        if isinstance(source, sources.Source):
            yield source
