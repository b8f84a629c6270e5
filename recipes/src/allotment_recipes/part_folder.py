# SPDX-License-Identifier: Apache-2.0
"""The folder of a part that is filled once from pinned bytes, in the store of all releases or in the release's own."""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from allotment.errors import MachineError
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.cached_part import digest_of, take_cached
from allotment_recipes.shared_store import Store, remove


@contextlib.contextmanager
def filling(recipe: GenericBaseRecipe[Any], location: Path, version: str) -> Iterator[Path | None]:
    """Give an empty folder to fill for the part ``location``; None when the part is there already.

    It gets its name in one step, at the end: of a run that fails or is killed nothing stays. In the store of all
    releases one run fills it and the others wait; it is read-only there.
    """
    with telling_disk_errors(recipe, location):
        if location.parent in recipe.run.shared_roots:
            with _filling_shared(recipe, location, version) as folder:
                yield folder
        else:
            with recipe.building(location) as folder:
                yield folder


@contextlib.contextmanager
def telling_disk_errors(recipe: GenericBaseRecipe[Any], location: Path) -> Iterator[None]:
    """Say of a disk that refuses something where it is, and what becomes of what is there."""
    try:
        yield
    except OSError as error:
        reason = f"{error.filename or location}: {os.strerror(error.errno or 0)}"
        raise MachineError(f"[{recipe.name}] {reason}", "Mend that and build again: what is whole is kept") from error


@contextlib.contextmanager
def _filling_shared(recipe: GenericBaseRecipe[Any], location: Path, version: str) -> Iterator[Path | None]:
    store, started, seconds = Store(location.parent), time.time(), 0.0
    builder, idle = f"{recipe.name} of {recipe.folder}", recipe.run.jobs.idle
    with store.building(location, builder, recipe.logger.info, idle=idle) as place:
        is_reused = place is None
        if place is None or take_cached(recipe, store, location):
            yield None
        else:
            began = time.monotonic()
            yield place.location
            seconds = time.monotonic() - began
            size = sum(path.lstat().st_size for path in Path(f"{location}/").rglob("*"))
            fields = {"part": recipe.name, "version": version, "seconds": round(seconds, 1), "bytes": size}
            fields["hash"] = digest_of(recipe)
            store.note(location, {**fields, "references": [part.name for part in recipe.referred_parts()]})
    recipe.run.tell_part(recipe.name, version, started, seconds, is_reused=is_reused)


@contextlib.contextmanager
def replacing(location: Path) -> Iterator[Path]:
    """Give an empty folder that takes the place of ``location`` at the end, whatever that held.

    Nothing changes when the block raises.
    """
    from allotment.atomic import sync_file_system

    clear_beside(location)
    aside = _beside(location)
    new = aside / "new"
    new.mkdir(parents=True)
    try:
        yield new
        sync_file_system(new)
        if location.is_dir():
            location.rename(aside / "old")
        new.rename(location)
    finally:
        remove(aside)


def clear_beside(location: Path) -> None:
    """Remove what a killed ``replacing`` of this folder has left beside it."""
    remove(_beside(location))


def _beside(location: Path) -> Path:
    return location.with_name(f".{location.name}.replacing")


def removable(recipe: GenericBaseRecipe[Any], location: Path) -> list[Path]:
    """Return what buildout removes with the part: nothing of the store that all releases share."""
    return [] if location.parent in recipe.run.shared_roots else [location]


def unpack_into(archive: Path, folder: Path, *, strip_top_level: bool) -> None:
    """Unpack an archive of sources into an empty folder that is there already."""
    from allotment_recipes.unpack import unpack

    aside = Path(tempfile.mkdtemp(dir=folder))  # a name that no archive knows
    unpack(archive, aside / "tree", strip_top_level=strip_top_level)
    for path in (aside / "tree").iterdir():
        path.rename(folder / path.name)
    (aside / "tree").rmdir()
    aside.rmdir()
