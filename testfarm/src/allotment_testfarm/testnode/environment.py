# SPDX-License-Identifier: Apache-2.0
"""What the jobs of a test node see of it: other versions of any of this may give another result."""

import platform
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions

from allotment.errors import AllotmentError
from allotment.plugins import load, plugins
from allotment_recipes.distributions import distribution_hash
from allotment_recipes.recipe_loading import canonical
from allotment_recipes.store import platform_name


def environment() -> dict[str, str]:
    """Return the versions of what is installed here, and the recipes' build versions, by name. Takes a moment."""
    return {
        "build platform": platform_name(),
        "python": platform.python_version(),
        **dict(_distributions()),
        **dict(_recipes()),
    }


def _distributions() -> Iterator[tuple[str, str]]:
    for found in distributions():
        name = canonical(found.metadata["Name"] or "")
        yield name, f"{found.version} {distribution_hash(found)[:16]}" if _may_change(found) else found.version


def _may_change(distribution: Distribution) -> bool:
    """Whether the files of one version are not always the same: it is installed from a folder."""
    return distribution.read_text("direct_url.json") is not None


def _recipes() -> Iterator[tuple[str, str]]:
    for item in plugins().items("allotment_recipe_types"):
        try:
            version = str(getattr(load(item.target), "build_version", 0))
        except (AllotmentError, ImportError, AttributeError) as error:
            version = f"can't be imported: {error}"  # a release that uses it fails, and says so
        yield f"recipe {item.distribution}:{item.name}", version
