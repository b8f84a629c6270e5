# SPDX-License-Identifier: Apache-2.0
"""Recipes by the names that SlapOS's profiles have for them: one table a distribution, one module a family.

An alias says which recipe of ours is meant and how the options are called there. Options that the recipe does not know
are left to whoever refers to them, as buildout does it; in a section that names our recipe they are a mistake.
"""

import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from allotment.options import option_names

DISTRIBUTION: Final = "allotment.recipes"

# Canonical name of a distribution -> the module and the name of its table.
_TABLES: Final[Mapping[str, tuple[str, str]]] = {
    "cns-recipe-symlink": ("other_recipes", "CNS_RECIPE_SYMLINK"),
    "collective-recipe-template": ("other_recipes", "COLLECTIVE_RECIPE_TEMPLATE"),
    "hexagonit-recipe-cmmi": ("slapos_recipes", "SLAPOS_RECIPE_CMMI"),
    "hexagonit-recipe-download": ("other_recipes", "HEXAGONIT_RECIPE_DOWNLOAD"),
    "plone-recipe-command": ("other_recipes", "PLONE_RECIPE_COMMAND"),
    "slapos-cookbook": ("slapos_cookbook", "SLAPOS_COOKBOOK"),
    "slapos-recipe-build": ("slapos_recipes", "SLAPOS_RECIPE_BUILD"),
    "slapos-recipe-cmmi": ("slapos_recipes", "SLAPOS_RECIPE_CMMI"),
    "slapos-recipe-template": ("slapos_recipes", "SLAPOS_RECIPE_TEMPLATE"),
    "zc-recipe-egg": ("zc_recipes", "ZC_RECIPE_EGG"),
}


@dataclass(frozen=True)
class Alias:
    """Another name of one of our recipes. All names of options are as in profiles."""

    recipe: str  # ours
    renamed: Mapping[str, str] = field(default_factory=dict)  # their option -> ours
    defaults: Mapping[str, str] = field(default_factory=dict)  # our options that are another value when left out
    dropped: Mapping[str, str] = field(default_factory=dict)  # their option -> why it has no effect here
    results: Mapping[str, str] = field(default_factory=dict)  # what others read as their option -> ours
    json: frozenset[str] = frozenset()  # results that are JSON here, and lists or dictionaries there
    instead: Mapping[str, str] = field(default_factory=dict)  # their option that is true -> our recipe then
    is_built: bool = False  # what names the part's own folder in parts-directory means where it is built to
    has_eggs: bool = False  # they are pinned by version only: allot.lock has the hashes, and what they need
    is_pinned: bool = False  # its url is pinned by allot.lock although the recipe has no option sha256sum
    convert: Callable[[dict[str, str]], None] | None = None  # changes the options where a new name is not enough

    def chosen(self, options: Mapping[str, str]) -> str:
        """Return our recipe for a section with these options."""
        words = {option: options.get(option, "").strip().lower() for option in self.instead}
        return next((self.instead[option] for option in words if words[option] in ("true", "yes", "1")), self.recipe)

    def translated(self, options: Mapping[str, str]) -> dict[str, str]:
        """Return ``options`` by our names, without those that are dropped; references are resolved in them."""
        found = {self.renamed.get(name, name): text for name, text in options.items() if name not in self.dropped}
        for name, text in self.defaults.items():
            found.setdefault(name, text)
        if self.convert is not None:
            self.convert(found)
        return found

    def ours(self, option: str) -> str | None:
        """Return our name of an option or result of theirs, when it is another one."""
        return self.results.get(option) or self.renamed.get(option)


def distributions() -> tuple[str, ...]:
    """Return the canonical names of the distributions whose recipes have aliases."""
    return tuple(_TABLES)


@functools.cache
def table(distribution: str) -> Mapping[str, Alias]:
    """Return the aliases of a distribution, by its entry points; none when it is not known by its canonical name."""
    if distribution not in _TABLES:
        return {}
    module, name = _TABLES[distribution]
    return cast(Mapping[str, Alias], getattr(importlib.import_module(f"{__name__}.{module}"), name))


def names_of(recipe: str) -> list[str]:
    """Return every name, as ``recipe =`` has it elsewhere, that stands for one of our recipes."""
    return [
        written_there(distribution, name)
        for distribution in distributions()
        for name, alias in sorted(table(distribution).items())
        if recipe in {alias.recipe, *alias.instead.values()}
    ]


def written_there(distribution: str, name: str) -> str:
    """Return what stands after ``recipe =`` elsewhere."""
    return distribution.replace("-", ".") + ("" if name == "default" else f":{name}")


def takes(recipe: type[Any], option: str) -> bool:
    """Whether a recipe has an option of this name; one that is none of ours is asked nothing and takes all."""
    options = getattr(recipe, "options_class", None)
    if options is None or option in ("recipe", "<part-dependencies>"):
        return True
    names, prefixes = option_names(options)
    return option in names or (option.startswith(prefixes) and not option.startswith("_"))


def has(recipe: type[Any], option: str) -> bool:
    """Whether a recipe of ours has an option of this very name."""
    options = getattr(recipe, "options_class", None)
    return options is not None and option in option_names(options)[0]
