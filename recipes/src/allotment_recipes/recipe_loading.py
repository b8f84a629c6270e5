# SPDX-License-Identifier: Apache-2.0
"""Find a recipe among the installed ones; nothing is ever installed to get it."""

import functools
import importlib.metadata
import re
from typing import Any

from allotment.errors import nearest
from allotment_recipes import aliases

GROUP = "zc.buildout"


def split(spec: str) -> tuple[str, str]:
    """Return distribution and entry point of ``distribution:name``; the name is ``default`` when it is left out."""
    distribution, _, name = spec.strip().partition(":")
    return distribution, name or "default"


@functools.cache
def canonical(distribution: str) -> str:
    """Return a distribution's name as the index writes it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


@functools.cache
def installed() -> dict[tuple[str, str], importlib.metadata.EntryPoint]:
    """Map (canonical distribution, name) to the entry point, for all installed distributions."""
    found: dict[tuple[str, str], importlib.metadata.EntryPoint] = {}
    for distribution in importlib.metadata.distributions():
        for point in distribution.entry_points:
            if point.group == GROUP:
                found.setdefault((canonical(distribution.metadata["Name"]), point.name), point)
    return found


def alias(spec: str) -> aliases.Alias | None:
    """Return the alias of that name, if it is one; it is meant also where the distribution itself is installed."""
    distribution, name = split(spec)
    return aliases.table(canonical(distribution)).get(name)


def find(section: str, spec: str) -> importlib.metadata.EntryPoint:
    """Return the entry point of ``spec`` or of what it is an alias of; an unknown one suggests the nearest."""
    other = alias(spec)
    distribution, name = split(spec if other is None else f"{aliases.DISTRIBUTION}:{other.recipe}")
    key = (canonical(distribution), name)
    if key not in installed():
        installed.cache_clear()  # a distribution may have come since; a warm process lives long
    point = installed().get(key)
    if point is not None:
        return point
    from allotment_recipes.aliases.absent import ABSENT
    from allotment_recipes.option_error import ProfileError

    other_way = ABSENT.get(key[0], {}).get(name)
    if other_way is not None:
        raise ProfileError(f"[{section}] recipe: {spec.strip()} has no counterpart here", other_way)
    same = [*(name for owner, name in installed() if owner == key[0]), *aliases.table(key[0])]
    if same:
        close = nearest(name, tuple(same))
        raise ProfileError(f"[{section}] recipe: {distribution} has no recipe '{name}'", close)
    known = sorted({*(owner for owner, _ in installed()), *aliases.distributions()})
    raise ProfileError(
        f"[{section}] recipe: no installed distribution '{distribution}' offers recipes",
        f"{nearest(distribution, tuple(known))}. Or install it where buildout runs",
    )


def load(section: str, spec: str) -> Any:
    """Return the recipe's class; one that can't be imported is an error."""
    point = find(section, spec)
    try:
        return loaded(point)
    except (ImportError, AttributeError, SyntaxError) as error:
        from allotment_recipes.option_error import ProfileError

        raise ProfileError(f"[{section}] recipe: {spec} can't be imported: {error}", "Install what it needs") from error


@functools.cache
def loaded(point: importlib.metadata.EntryPoint) -> Any:
    """Return what an entry point names; a failure is not kept."""
    return point.load()
