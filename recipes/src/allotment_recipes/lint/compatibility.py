# SPDX-License-Identifier: Apache-2.0
"""What an update of a release would break for the instances that run it, told from its schemas."""

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from allotment.errors import AllotmentError
from allotment_recipes.lint.problem import Problem
from allotment_recipes.lint.release_checks import instance_views, published_values, read_schema
from allotment_recipes.lint.view import View
from allotment_recipes.release import describe
from allotment_recipes.revision_files import unpack_revision

RULE: Final = "compatible"
RELEASE: Final = "software.cfg"
_DESCRIPTIONS: Final = "*.cfg.json"
_LOWEST: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_HIGHEST: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_ALL: Final = frozenset({"string", "number", "integer", "boolean", "null", "object", "array"})
_MISSING: Final = object()


def against(profile: Path, revision: str) -> list[Problem]:
    """Compare a release with what it was in a revision of the same git repository; what is new breaks nothing.

    A ``software.cfg`` stands for all profiles of its folder that had a description then.
    """
    profile = profile.absolute()
    root = Path(_git(profile.parent, "rev-parse", "--show-toplevel").strip())
    place = profile.resolve().relative_to(root.resolve())
    with tempfile.TemporaryDirectory(prefix="allot-lint-") as folder:
        archive = Path(folder, "tree.tar")
        _git(root, "archive", "--format=tar", f"--output={archive}", "--end-of-options", revision)
        unpack_revision(archive, Path(folder, "tree"), revision)
        earlier = Path(folder, "tree", place).parent
        found = earlier.glob(_DESCRIPTIONS) if profile.name == RELEASE else [earlier / f"{profile.name}.json"]
        names = [path.stem for path in found if path.is_file() and path.with_suffix("").is_file()]
        return sorted({item for name in names for item in _changed(earlier / name, profile.with_name(name), revision)})


def _changed(earlier: Path, now: Path, revision: str) -> Iterator[Problem]:
    if now.is_file():
        yield from compare(earlier, now, revision)
    else:
        yield Problem(now, 0, RULE, f"the profile and its schemas of {revision} are gone", "Keep it, extending another")


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise AllotmentError("--against needs git, which is not installed", "apt-get install git") from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it failed"])[-1]
        raise AllotmentError(f"--against: git {arguments[0]}: {reason}", "Name a commit, tag or branch that exists")
    return done.stdout


def compare(earlier: Path, now: Path, revision: str) -> Iterator[Problem]:
    """Yield each thing that held for the release of ``earlier`` and does not for the one of ``now``."""
    old, new = describe(earlier), describe(now)
    document = now.with_name(f"{now.name}.json")
    old_views, new_views = dict(instance_views(View(earlier))), dict(instance_views(View(now)))
    for name, item in old.types.items():
        other = new.types.get(name)
        if other is None:
            yield Problem(
                document, 0, RULE, f"the software type '{name}' of {revision} is gone", "Keep it, or an alias"
            )
            continue
        if item.shared != other.shared:
            kind = "no longer" if item.shared else "now"
            yield Problem(document, 0, RULE, f"the software type '{name}' is {kind} a shared one", "Add another type")
        for file, earlier_file, is_input in (
            (other.parameters, item.parameters, True),
            (other.published, item.published, False),
        ):
            path = now.with_name(file)
            before, after = read_schema(earlier.with_name(earlier_file)), read_schema(path)
            if isinstance(before, dict) and isinstance(after, dict):
                changes = accepted(before, after, "") if is_input else promised(before, after, "")
                fix = "Keep what was accepted" if is_input else "Keep what was published"
                for what in changes:
                    yield Problem(path, 0, RULE, f"{what} (since {revision})", fix)
        if item.profile in old_views and other.profile in new_views:
            view = new_views[other.profile]
            if view.is_complete and not view.has_unknown_sections:
                for value in published_values(old_views[item.profile]).keys() - published_values(view).keys():
                    what = f"{value} is no longer published (since {revision})"
                    yield Problem(view.path, 0, RULE, what, "Publish it on")


def accepted(old: Mapping[str, Any], new: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield what was accepted by the schema ``old``, or meant something, and is not so by ``new``."""
    name = where or "the parameters"
    if lost := _kinds(old) - _kinds(new):
        yield f"{name}: the type {' or '.join(sorted(lost))} is no longer accepted"
    if "enum" in new and (gone := _without(old.get("enum", ()), new["enum"])):
        yield f"{name}: {', '.join(map(json.dumps, gone))} is no longer accepted"
    if "enum" in new and "enum" not in old:
        yield f"{name}: only {', '.join(map(json.dumps, new['enum']))} is accepted now"
    for key in ("const", "pattern", "format", "multipleOf"):
        if key in new and new[key] != old.get(key, _MISSING):
            yield f"{name}: {key} is {json.dumps(new[key])} now"
    for keys, is_stricter in ((_LOWEST, lambda a, b: b > a), (_HIGHEST, lambda a, b: b < a)):
        for key in keys:
            if key in new and (key not in old or is_stricter(old[key], new[key])):
                was = f", was {old[key]}" if key in old else ""
                yield f"{name}: {key} is {new[key]}{was}"
    if "default" in old and old["default"] != new.get("default", _MISSING):
        now = json.dumps(new["default"]) if "default" in new else "none"
        yield f"{name}: the default was {json.dumps(old['default'])} and is {now}"
    before, after = old.get("properties", {}), new.get("properties", {})
    closed = new.get("additionalProperties") is False
    for key, schema in before.items():
        place = f"{where}.{key}" if where else key
        if key not in after:
            yield f"{place} is gone" if closed else f"{place} means nothing any more"
        elif isinstance(schema, dict) and isinstance(after[key], dict):
            yield from accepted(schema, after[key], place)
    for key in new.get("required", ()):
        if key not in old.get("required", ()):
            yield f"{where}.{key} is required now" if where else f"{key} is required now"
    if closed and old.get("additionalProperties") is not False:
        yield f"{name}: others than those described are no longer accepted"
    if isinstance(old.get("items"), dict) and isinstance(new.get("items"), dict):
        yield from accepted(old["items"], new["items"], f"{where}[]")


def promised(old: Mapping[str, Any], new: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield what a reader of values of the schema ``old`` could count on, and can't by ``new``."""
    name = where or "what is published"
    if more := _kinds(new) - _kinds(old):
        yield f"{name}: may be of the type {' or '.join(sorted(more))} now"
    if "enum" in old and ("enum" not in new or _without(new["enum"], old["enum"])):
        yield f"{name}: may be another than {', '.join(map(json.dumps, old['enum']))} now"
    before, after = old.get("properties", {}), new.get("properties", {})
    for key, schema in before.items():
        place = f"{where}.{key}" if where else key
        if key not in after:
            yield f"{place} is gone"
        elif isinstance(schema, dict) and isinstance(after[key], dict):
            yield from promised(schema, after[key], place)
    for key in old.get("required", ()):
        if key in after and key not in new.get("required", ()):
            yield f"{where}.{key} may be missing now" if where else f"{key} may be missing now"
    if isinstance(old.get("items"), dict) and isinstance(new.get("items"), dict):
        yield from promised(old["items"], new["items"], f"{where}[]")


def _kinds(schema: Mapping[str, Any]) -> frozenset[str]:
    kinds = schema.get("type")
    found = _ALL if kinds is None else frozenset([kinds] if isinstance(kinds, str) else kinds)
    return found | {"integer"} if "number" in found else found


def _without(values: Any, others: Any) -> list[Any]:
    return [value for value in values if value not in others]
