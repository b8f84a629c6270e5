# SPDX-License-Identifier: Apache-2.0
"""Buildout driver and recipes of Allotment; a recipe's author starts from :class:`GenericBaseRecipe`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from allotment_recipes.base import GenericBaseRecipe

__all__ = ["GenericBaseRecipe"]


def __getattr__(name: str) -> object:
    """Import the base at its first use: ``allot --help`` imports this package for its list of plugins only."""
    if name != "GenericBaseRecipe":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from allotment_recipes.base import GenericBaseRecipe

    return GenericBaseRecipe
