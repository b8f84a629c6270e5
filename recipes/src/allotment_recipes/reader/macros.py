# SPDX-License-Identifier: Apache-2.0
"""Sections that begin as a copy of others: ``<= macro``."""

from collections.abc import Callable, Mapping

from allotment_recipes.option_error import ProfileError
from allotment_recipes.reader.limits import DEPTH
from allotment_recipes.reader.merge import changed, operations_of


def with_macros(
    name: str,
    data: Mapping[str, str],
    raw: Mapping[str, Mapping[str, str]],
    nearest: Callable[[str], str],
    doing: tuple[str, ...] = (),
    done: dict[str, dict[str, str]] | None = None,
) -> dict[str, str]:
    """Return the options of a section with those of its macros, later macros and the section itself above.

    ``raw`` has the sections that macros are taken from; ``nearest`` returns the advice for one that does not exist.
    ``done`` are the macros that this section has come to already.
    """
    if "<" not in data:
        return dict(data)
    if name in doing:
        circle = " -> ".join([*doing[doing.index(name) :], name])
        raise ProfileError(f"[{name}] extends itself: {circle}", "Take one of these '<' out")
    if len(doing) > DEPTH:
        raise ProfileError(f"[{doing[0]}] <: more than {DEPTH} sections extend one another", "Extend fewer")
    done = {} if done is None else done
    merged: dict[str, str] = {}
    for macro in filter(None, map(str.strip, data["<"].split("\n"))):
        if macro not in raw:
            raise ProfileError(f"[{name}] <: the section '{macro}' does not exist", nearest(macro))
        if macro not in done:
            done[macro] = with_macros(macro, raw[macro], raw, nearest, (*doing, name), done)
        merged.update(done[macro])
    merged.update((option, text) for option, text in data.items() if option[-1] not in "+-")
    for option, operations in operations_of(data):
        merged[option] = changed(name, option, merged.get(option, ""), operations)
    del merged["<"]
    return merged
