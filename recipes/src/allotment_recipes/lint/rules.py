# SPDX-License-Identifier: Apache-2.0
"""The checks of one profile; a new one is a function here, its line in ``RULES`` and its test."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from allotment.errors import nearest
from allotment.options import OptionProblem, parse_options
from allotment_recipes.lint import promise_types
from allotment_recipes.lint.known_recipes import KnownRecipe, known_recipe, why_unknown
from allotment_recipes.lint.problem import Problem
from allotment_recipes.lint.profile_text import UNKNOWN, Option
from allotment_recipes.lint.view import BUILDOUT, View
from allotment_recipes.node_sections import NAMES as OF_THE_NODE

_NO_RECIPE: Final = frozenset({BUILDOUT, "versions", "hashes"})  # sections that buildout itself reads
_EVERYWHERE: Final = frozenset({"recipe", "<", "=>", "_profile_base_location_", "_buildout_section_name_"})
_NAME = re.compile(r"[a-z0-9][a-z0-9.+:-]*")
_OPTION_NAME = re.compile(r"-?[a-z0-9][a-z0-9.+-]*")
_FETCHING: Final = ("url", "path", "alternates", "alternate-url")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_HASHED = re.compile(r"#(sha256=[0-9a-fA-F]{64}|[0-9a-fA-F]{64}|md5=[0-9a-fA-F]{32}|[0-9a-fA-F]{32})$")


def _sections(view: View) -> Iterator[tuple[str, Mapping[str, Option], KnownRecipe]]:
    """Yield the sections whose recipe is known, with all their options."""
    for section in view.written:
        options = view.options(section)
        spec = options.get("recipe")
        if section in _NO_RECIPE or spec is None or UNKNOWN in section + spec.value or "$" in spec.value:
            continue
        if why_unknown(spec.value) is None:
            yield section, options, known_recipe(spec.value)


def unknown_recipes(view: View) -> Iterator[Problem]:
    """``recipe``: nothing installed offers a recipe of this name."""
    for section in view.written:
        spec = view.options(section).get("recipe")
        if spec is None or {"$", UNKNOWN} & set(spec.value):
            continue
        if found := why_unknown(spec.value):
            yield Problem(spec.path, spec.number, "recipe", f"[{section}] {found[0]}", found[1])


def options(view: View) -> Iterator[Problem]:
    """``option``: an option that the recipe does not take, that is missing, or that can't be what it says."""
    for section, written, recipe in _sections(view):
        variables = view.variables(section)
        static: dict[str, Any] = {}
        for name, option in written.items():
            if name in _EVERYWHERE or UNKNOWN in name:
                continue
            if option.section != section and "recipe" in view.options(option.section):
                continue  # told of the macro that writes it
            if not recipe.takes(name):
                if name not in variables and not view.has_unknown_sections:
                    what = f"[{section}] {name}: unknown option, and nothing refers to it"
                    fix = nearest(name, tuple(recipe.names))
                    yield Problem(option.path, option.number, "option", what, fix)
            elif not {"$", UNKNOWN} & set(option.value) and option.operator == "=":
                static[name] = option.value
        is_whole = view.is_complete and section in {part for part, _, _ in view.parts()}
        yield from _values(section, written, recipe, static, is_whole)
        for name in recipe.required if is_whole else ():  # a macro leaves it to who inherits it
            if name not in written:
                place = view.written[section][-1]
                what = f"[{section}] {name}: missing option"
                yield Problem(place.path, place.number, "option", what, f"Add '{name} = ...'")


def _values(
    section: str, written: Mapping[str, Option], recipe: KnownRecipe, static: dict[str, Any], is_whole: bool
) -> Iterator[Problem]:
    """Let the recipe's own parser judge the options that hold no variable; ``is_whole``: there are no others."""
    if recipe.options is None:
        return
    for _ in range(len(static)):
        try:
            parse_options(recipe.options, static)
        except OptionProblem as problem:
            names = problem.option.split(", ")
            if len(names) > 1 and is_whole and all(name in static or name not in written for name in names):
                place = written["recipe"]
                yield Problem(place.path, place.number, "option", f"[{section}] {problem.what}", problem.fix)
            if problem.option not in static:
                return  # one that is missing, or several of which some are told by the run only
            option = written[problem.option]
            yield Problem(option.path, option.number, "option", f"[{section}] {problem.what}", problem.fix)
            del static[problem.option]
        else:
            return


def nothing_referred_to(view: View) -> Iterator[Problem]:
    """``reference``: a part, a macro or a reference that names nothing."""
    if not view.is_complete or view.has_unknown_sections:
        return
    sections = tuple(name for name in view.written if name not in _NO_RECIPE)
    for name, option, number in view.parts():
        if name not in view.written and not {"$", UNKNOWN} & set(name):
            what = f"[{BUILDOUT}] parts: there is no section '{name}'"
            yield Problem(option.path, number, "reference", what, nearest(name, sections))
    for section in view.written:
        for name, option in view.macros(section):
            if name not in view.written and UNKNOWN not in name:
                what = f"[{section}] <: there is no section '{name}'"
                yield Problem(option.path, option.number, "reference", what, nearest(name, sections))
        for reference in view.references(section):
            if UNKNOWN in reference.section + reference.option or reference.section in {BUILDOUT, *OF_THE_NODE}:
                continue
            text = f"${{{reference.section}:{reference.option}}}" if reference.option else reference.section
            if reference.section not in view.written:
                what = f"[{section}] refers to {text}, but there is no section '{reference.section}'"
                yield Problem(reference.path, reference.number, "reference", what, nearest(reference.section, sections))
                continue
            others = view.options(reference.section)
            if "recipe" in others or reference.option in {"", *others} or reference.option in _EVERYWHERE:
                continue  # a recipe sets options that are not written
            what = f"[{section}] refers to {text}, but [{reference.section}] has no such option"
            fix = nearest(reference.option, tuple(name for name in others if name not in _EVERYWHERE))
            yield Problem(reference.path, reference.number, "reference", what, fix)


def unused(view: View) -> Iterator[Problem]:
    """``unused``: a section of the profile's own that no part reaches."""
    if not view.is_complete or view.has_unknown_sections or not view.parts():
        return
    for section in view.written:
        if section in view.used or section in _NO_RECIPE or ":" in section:
            continue
        own = [place for place in view.written[section] if place.path.parent == view.path.parent]
        if own and len(own) == len(view.written[section]):
            what = f"[{section}] is used by no part"
            fix = "List it in parts, refer to it, or take it out"
            yield Problem(own[0].path, own[0].number, "unused", what, fix)


def pins(view: View) -> Iterator[Problem]:
    """``pin``: a Python distribution without its version, or a version that leaves a choice."""
    versions = view.options("versions")
    for name, option in versions.items():
        if name not in _EVERYWHERE and re.search(r"[<>=~*,]", option.value):
            what = f"[versions] {name}: {option.value!r} is not one version"
            yield Problem(option.path, option.number, "pin", what, "Write the version alone, like 1.2.3")
    if not view.is_complete:
        return
    pinned = {_canonical(name) for name in versions}
    for section, written, recipe in _sections(view):
        eggs = written.get("eggs")
        if recipe.name not in {"python_scripts", "python_extension"} or eggs is None:
            continue
        for line in eggs.lines:
            name = re.split(r"[\s\[;<>=!~]", line.text, maxsplit=1)[0]
            if name and not {"$", UNKNOWN} & set(line.text) and _canonical(name) not in pinned:
                what = f"[{section}] eggs: {name} has no version"
                yield Problem(eggs.path, line.number, "pin", what, f"Add '{name} = VERSION' to [versions]")


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def checksums(view: View) -> Iterator[Problem]:
    """``checksum``: something is fetched and nothing says which bytes it must be."""
    for section, written, recipe in _sections(view):
        remote = [written[name] for name in _FETCHING if name in written and _is_remote(written[name].value)]
        if "sha256sum" in recipe.names:
            found = written.get("sha256sum")
            if found is None and remote and "md5sum" not in written:  # which asks for a lock
                place = remote[0]
                what = f"[{section}] sha256sum: missing, so any bytes would do"
                yield Problem(place.path, place.number, "checksum", what, "Add 'sha256sum = ' and 64 digits")
            elif found is not None and not {"$", UNKNOWN} & set(found.value) and not _SHA256.fullmatch(found.value):
                what = f"[{section}] sha256sum: {found.value!r} is not a sha256"
                yield Problem(found.path, found.number, "checksum", what, "Write 64 hexadecimal digits")
        patches = written.get("patches")
        if patches is None or "patches" not in recipe.names:
            continue
        for line in patches.lines:
            if line.text and UNKNOWN not in line.text and not _HASHED.search(line.text):
                what = f"[{section}] patches: {line.text} has no sha256"
                yield Problem(patches.path, line.number, "checksum", what, "Append '#' and it")


def _is_remote(url: str) -> bool:
    return "://" in url and not url.startswith("file://")


def names(view: View) -> Iterator[Problem]:
    """``name``: a section or an option is not written in small letters and dashes."""
    for section, places in view.written.items():
        bare = section.replace(UNKNOWN, "x")
        if not _NAME.fullmatch(bare):
            place = places[0]
            what = f"[{section}] is not written in small letters, digits and dashes"
            yield Problem(place.path, place.number, "name", what, f"Call it [{_kebab(bare)}]")
    for section, written, recipe in _sections(view):
        if recipe.options is None:
            continue  # its options are called as its author does
        for name, option in written.items():
            bare = name.replace(UNKNOWN, "x")
            if name in _EVERYWHERE or name in recipe.names or "" in recipe.prefixes:
                continue
            if not name.startswith(recipe.prefixes) and not _OPTION_NAME.fullmatch(bare):
                what = f"[{section}] {name} is not written in small letters, digits and dashes"
                yield Problem(option.path, option.number, "name", what, f"Call it {_kebab(bare)}")


def _kebab(name: str) -> str:
    return re.sub(r"[^a-z0-9.+]+", "-", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()).strip("-")


def promises(view: View) -> Iterator[Problem]:
    """``promise``: an instance profile starts services, and no promise says whether they work."""
    if not view.is_complete or view.has_unknown_sections:
        return
    services = []
    for section, written, recipe in _sections(view):
        if section not in view.used:
            continue
        output = next((written[name] for name in ("wrapper-path", "output", "rendered") if name in written), None)
        text = view.expanded(section, output.value) if output is not None else ""
        if recipe.name == "promise" or "etc/promise/" in text or "etc/plugin/" in text:
            return
        if output is not None and "etc/service/" in text:
            services.append(Problem(output.path, output.number, "promise", f"[{section}] is a service without promise"))
    for problem in services:
        fix = "Add a part with the recipe promise that says whether it works"
        yield Problem(problem.path, problem.line, problem.rule, problem.what, fix)


def watch(view: View) -> Iterator[Problem]:
    """``watch``: a promise of a type that nothing installed offers, or with options that the type does not take."""
    for section, written, recipe in _sections(view):
        yield from promise_types.problems(view, section, written, recipe)


RULES: Final[Mapping[str, Callable[[View], Iterator[Problem]]]] = {
    "recipe": unknown_recipes,
    "option": options,
    "reference": nothing_referred_to,
    "unused": unused,
    "pin": pins,
    "checksum": checksums,
    "name": names,
    "promise": promises,
    "watch": watch,
}


def check_profile(view: View, *, skip: frozenset[str] = frozenset()) -> list[Problem]:
    """Return what all checks find in a profile, each once, by place."""
    found = {problem for name, rule in RULES.items() if name not in skip for problem in rule(view)}
    return sorted(found | {problem for problem in view.problems if problem.rule not in skip})


def relative(problems: Iterable[Problem], folder: Path) -> list[Problem]:
    """Return problems with paths below ``folder`` made relative to it."""
    return [
        replace(problem, path=problem.path.relative_to(folder)) if problem.path.is_relative_to(folder) else problem
        for problem in problems
    ]
