# SPDX-License-Identifier: Apache-2.0
"""What the installed recipes take, by the name that a profile gives them."""

import dataclasses
import functools
from dataclasses import dataclass

from allotment.errors import AllotmentError
from allotment.options import option_name, option_names
from allotment_recipes import recipe_loading


@dataclass(frozen=True)
class KnownRecipe:
    """A recipe that was found; ``options`` is None for one that takes any: an alias, or not of our base class."""

    name: str
    options: type | None

    @functools.cached_property
    def names(self) -> frozenset[str]:
        """The options that have a field."""
        return option_names(self.options)[0] if self.options is not None else frozenset()

    @functools.cached_property
    def prefixes(self) -> tuple[str, ...]:
        """What begins the options that have none."""
        return option_names(self.options)[1] if self.options is not None else ()

    @functools.cached_property
    def required(self) -> tuple[str, ...]:
        """The options without which it refuses a section."""
        fields = dataclasses.fields(self.options) if self.options is not None else ()
        return tuple(
            option_name(item.name)
            for item in fields
            if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        )

    def takes(self, option: str) -> bool:
        """Whether a section may have this option."""
        return self.options is None or option in self.names or option.startswith(self.prefixes)


@functools.cache
def known_recipe(spec: str) -> KnownRecipe:
    """Return the recipe that ``recipe = spec`` means; one that is not installed is an error."""
    recipe = recipe_loading.load("", spec)
    options = None if recipe_loading.alias(spec) is not None else getattr(recipe, "options_class", None)
    return KnownRecipe(recipe.__module__.rpartition(".")[2], options)


def why_unknown(spec: str) -> tuple[str, str] | None:
    """Return what is wrong with ``recipe = spec`` and the fix; None when nothing is."""
    try:
        known_recipe(spec)
    except AllotmentError as error:
        return error.what.removeprefix("[] "), error.fix
    return None
