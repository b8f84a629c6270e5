# SPDX-License-Identifier: Apache-2.0
"""Buildout driver and recipes of Allotment; a recipe's author starts from :class:`GenericBaseRecipe`."""

from allotment_recipes.base import GenericBaseRecipe

__all__ = ["GenericBaseRecipe"]
