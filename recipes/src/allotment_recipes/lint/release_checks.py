# SPDX-License-Identifier: Apache-2.0
"""The checks of a whole release: its profiles, the instance profiles that it renders, its schemas."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from allotment.errors import AllotmentError
from allotment_recipes.lint.known_recipes import known_recipe, why_unknown
from allotment_recipes.lint.problem import Problem
from allotment_recipes.lint.profile_text import UNKNOWN
from allotment_recipes.lint.rules import check_profile
from allotment_recipes.lint.view import View
from allotment_recipes.release import ReleaseDescription, describe

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
RULES: Final[Mapping[str, str]] = {
    "schema": "A schema can't be used, says nothing of a parameter, or a parameter is no single value.",
    "published": "What an instance publishes and what its schema says are not the same.",
}
_ATOMIC: Final = frozenset({"string", "integer", "number", "boolean", "null"})
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_RENDERING: Final = frozenset({"template", "buildout_template"})  # modules of the recipes that do


def instance_views(view: View) -> Iterator[tuple[str, View]]:
    """Yield the instance profiles that a software profile renders, by the name of what is rendered."""
    for section in view.written:
        options = view.options(section)
        spec, url = options.get("recipe"), options.get("url") or options.get("template")
        output = options.get("output") or options.get("rendered")
        if spec is None or url is None or output is None or section not in view.used or why_unknown(spec.value):
            continue
        source, target = view.expanded(section, url.value), view.expanded(section, output.value)
        if known_recipe(spec.value).name not in _RENDERING or not target.endswith(".cfg") or UNKNOWN in source:
            continue
        values = {}
        context = options.get("context")
        for line in context.lines if context is not None else ():
            words = line.text.split(None, 2)
            if len(words) == 3 and words[0] == "raw":
                values[words[1]] = view.expanded(section, words[2])
            elif len(words) == 3 and words[0] == "key":
                target_section, _, name = words[2].partition(":")
                values[words[1]] = view.value(target_section or section, name)
        yield Path(target).name, View(Path(source.removeprefix("file://")), values, view.texts)


def _written_inline(view: View) -> set[str]:
    """Return the names of what a software profile renders from its own text, which is not looked into."""
    found = set()
    for section in view.written:
        options = view.options(section)
        spec, output = options.get("recipe"), options.get("output") or options.get("rendered")
        if spec is None or output is None or "inline" not in options or why_unknown(spec.value):
            continue
        if section in view.used and known_recipe(spec.value).name in _RENDERING:
            found.add(Path(view.expanded(section, output.value)).name)
    return found


def check(path: Path, texts: Mapping[Path, str], *, skip: frozenset[str] = frozenset()) -> list[Problem]:
    """Return what the checks find in a profile and, for a ``software.cfg``, in its release."""
    view = View(path, {}, texts)
    found = set(check_profile(view, skip=skip))
    if path.name == "software.cfg":
        rendered = dict(instance_views(view))
        for instance in rendered.values():
            found.update(check_profile(instance, skip=skip))
        found.update(problem for problem in _described(view, rendered) if problem.rule not in skip)
    return sorted(found)


def _described(software: View, rendered: Mapping[str, View]) -> Iterator[Problem]:
    """Check ``software.cfg.json`` and the schemas that it names."""
    path = software.path
    if not _NAME.fullmatch(path.parent.name):
        yield Problem(path, 0, "name", f"the folder '{path.parent.name}' is not written in small letters and dashes")
    document = path.with_name(f"{path.name}.json")
    try:
        description = describe(path)
    except AllotmentError as error:
        yield Problem(document if document.exists() else path, 0, "schema", error.what, error.fix)
        return
    for name, item in description.types.items():
        for schema in (item.parameters, item.published):
            yield from _schema(path.with_name(schema))
        view = rendered.get(item.profile)
        if view is None:
            if item.profile in _written_inline(software):
                continue
            if software.is_complete and all(other.is_complete for other in rendered.values()):
                what = f"types: {name}: profile: no part renders {item.profile}"
                yield Problem(
                    document, _line(document, item.profile), "schema", what, "Correct the name, or add the part"
                )
        else:
            yield from _published(view, path.with_name(item.published), description)


def read_schema(path: Path) -> dict[str, Any] | str:
    """Return a schema, or why there is none."""
    try:
        schema = json.loads(path.read_bytes())
    except OSError as error:
        return f"can't be read: {error.strerror}"
    except ValueError as error:
        return f"is not JSON: {error}"
    return schema if isinstance(schema, dict) else "is not a JSON object"


def _schema(path: Path) -> Iterator[Problem]:
    schema = read_schema(path)
    if isinstance(schema, str):
        yield Problem(path, 0, "schema", schema, "Correct it")
        return
    if schema.get("$schema") != DRAFT:
        yield Problem(path, _line(path, "$schema"), "schema", "$schema is not draft 2020-12", f'Write "{DRAFT}"')
    for name, item in schema.get("properties", {}).items():
        line = _line(path, name)
        if not _NAME.fullmatch(name):
            yield Problem(path, line, "name", f"{name} is not written in small letters and dashes")
        if not isinstance(item, dict):
            continue
        if not item.get("description"):
            yield Problem(path, line, "schema", f"{name} has no description", "Say in one line what it is for")
        kinds = item.get("type")
        unfit = set([kinds] if isinstance(kinds, str) else kinds or ()) - _ATOMIC
        if unfit:
            what = f"{name} is of type {sorted(unfit)[0]}, not a single value"
            yield Problem(path, line, "schema", what, "Make each of its values a parameter of its own")


def published_values(view: View) -> dict[str, tuple[Path, int]]:
    """Return what the instance profile publishes: name -> place."""
    found = {}
    for section in view.used & view.written.keys():
        options = view.options(section)
        spec = options.get("recipe")
        if spec is None or why_unknown(spec.value) or known_recipe(spec.value).name != "publish":
            continue
        if "-shared" in options or "-slave-reference" in options:
            continue  # of another instance, with a schema of its own
        for name, option in options.items():
            if name not in {"recipe", "<"} and not name.startswith("-"):
                found[name] = (option.path, option.number)
    return found


def _published(view: View, path: Path, description: ReleaseDescription) -> Iterator[Problem]:
    schema = read_schema(path)
    if isinstance(schema, str) or not view.is_complete or view.has_unknown_sections:
        return
    values = published_values(view)
    if not values:
        return
    known = schema.get("properties", {})
    for name, (place, line) in values.items():
        if name not in known and schema.get("additionalProperties") is False and UNKNOWN not in name:
            yield Problem(place, line, "published", f"{name} is published, but not in {path.name}", "Describe it there")
    for name in schema.get("required", ()):
        if name not in values:
            what = f"{name} is required of what {description.name} publishes, but no section publishes it"
            yield Problem(path, _line(path, name), "published", what, "Publish it, or take it out")


def _line(path: Path, name: str) -> int:
    """Return the first line that has a name in quotes; 0 when there is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    return next((number for number, line in enumerate(lines, 1) if f'"{name}"' in line), 0)
