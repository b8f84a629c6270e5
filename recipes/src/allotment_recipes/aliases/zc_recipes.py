# SPDX-License-Identifier: Apache-2.0
"""zc.recipe.egg."""

from typing import Final

from allotment_recipes.aliases import Alias

_ISOLATED: Final = "scripts see what is pinned, and nothing else"


_EGG: Final = Alias(
    "python.eggs",
    dropped=dict.fromkeys(("find-links", "index", "python"), _ISOLATED),
    has_eggs=True,
)
ZC_RECIPE_EGG: Final = {
    "custom": Alias("python.extension", defaults={"shared": "false"}, has_eggs=True),
    "default": _EGG,
    "develop": Alias("python.develop", has_eggs=True),
    "eggs": Alias("python.eggs", defaults={"scripts": ""}, has_eggs=True),
    "script": _EGG,
    "scripts": _EGG,
}
