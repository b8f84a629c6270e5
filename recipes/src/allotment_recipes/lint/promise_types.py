# SPDX-License-Identifier: Apache-2.0
"""What the installed promise types take; recipes themselves know none, as promises run elsewhere."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping

from allotment.errors import AllotmentError, nearest
from allotment.options import option_name, option_names, options_of
from allotment.plugins import load, plugins
from allotment_recipes.lint.known_recipes import KnownRecipe
from allotment_recipes.lint.problem import Problem
from allotment_recipes.lint.profile_text import UNKNOWN, Option
from allotment_recipes.lint.view import View

_PREFIX = "config-"


@functools.cache
def _targets() -> Mapping[str, str]:
    return {found.item.name: found.item.target for found in plugins().contributions("allotment_promise_types")}


@functools.cache
def _options(kind: str) -> type | None:
    """Return the options of a promise type; None when it can't be loaded, which is told where promises run."""
    try:
        return options_of(load(_targets()[kind]))
    except (AllotmentError, ImportError):
        return None


def problems(view: View, section: str, written: Mapping[str, Option], recipe: KnownRecipe) -> Iterator[Problem]:
    """Yield what is wrong with a section of the recipe ``promise`` that names a promise type."""
    given = written.get("promise")
    if recipe.name != "promise" or recipe.options is None or given is None or not _targets():
        return
    kind = view.expanded(section, given.value).strip()
    if UNKNOWN in kind or "$" in kind:
        return
    if kind not in _targets():
        what = f"[{section}] promise: nothing installed offers a promise type {kind!r}"
        yield Problem(given.path, given.number, "watch", what, nearest(kind, tuple(_targets())))
    elif (found := _options(kind)) is not None:
        # A macro leaves what is missing to who inherits it.
        is_whole = view.is_complete and section in {part for part, _, _ in view.parts()}
        yield from _of_options(section, written, given, found, is_whole=is_whole)


def _of_options(
    section: str, written: Mapping[str, Option], given: Option, found: type, *, is_whole: bool
) -> Iterator[Problem]:
    names, prefixes = option_names(found)
    config = {name.removeprefix(_PREFIX): option for name, option in written.items() if name.startswith(_PREFIX)}
    for name, option in config.items():
        if UNKNOWN not in name and name not in names and not name.startswith(prefixes):
            what = f"[{section}] {_PREFIX}{name}: {given.value} has no option {name!r}"
            yield Problem(option.path, option.number, "watch", what, nearest(name, tuple(names)))
    for field in dataclasses.fields(found):
        is_required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if is_whole and is_required and option_name(field.name) not in config and UNKNOWN not in "".join(config):
            what = f"[{section}] {_PREFIX}{option_name(field.name)}: {given.value} needs it"
            yield Problem(given.path, given.number, "watch", what, f"Add '{_PREFIX}{option_name(field.name)} = ...'")
