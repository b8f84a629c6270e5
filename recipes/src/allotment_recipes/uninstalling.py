# SPDX-License-Identifier: Apache-2.0
"""What happens when a part goes, beyond the removal of its files."""

import functools
import importlib.metadata
import logging
import os.path
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from allotment.errors import AllotmentError
from allotment_recipes import recipe_loading
from allotment_recipes.journal import Journal

GROUP = "zc.buildout.uninstall"


def begin(part: str, options: Mapping[str, str], journal: Journal, *, is_wanted: bool) -> None:
    """Let the recipe of an installed part undo what it did, and say which data stays.

    A part that goes does so once the run has succeeded. One that ``is_wanted``, because it is only made anew with
    other options, does so at once: what it undoes comes before what it does next.
    """
    try:
        point = recipe_loading.find(part, options["recipe"])
        recipe = recipe_loading.load(part, options["recipe"])
    except AllotmentError as error:
        logging.getLogger(part).warning("its files are removed, but its recipe is not there: %s", error)
        return
    undo = getattr(recipe, "uninstall", None) or _registered(point)
    if undo is not None:
        action = functools.partial(undo, part, options)
        action() if is_wanted else journal.before_removals(action)
    if not is_wanted:
        removed = options["__buildout_installed__"].split("\n")
        for path in recipe.kept(options) if hasattr(recipe, "kept") else ():
            if path not in removed and Path(path).is_absolute() and os.path.lexists(path):
                logging.getLogger(part).info("kept %s: it holds data", path)


def _registered(point: importlib.metadata.EntryPoint) -> Callable[[str, Mapping[str, str]], Any] | None:
    """Return what the recipe's distribution has registered with buildout under the recipe's name."""
    if point.dist is None:
        return None
    for other in point.dist.entry_points:
        if (other.group, other.name) == (GROUP, point.name):
            found: Callable[[str, Mapping[str, str]], Any] = other.load()
            return found
    return None
