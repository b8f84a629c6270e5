# SPDX-License-Identifier: Apache-2.0
"""``software.cfg.json``: what a release says of itself, beside its ``software.cfg``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allotment.codec import loads
from allotment.errors import AllotmentError
from allotment.messages.manifest import SoftwareType
from allotment_recipes.parameters import is_checked

FORMAT = 1


@dataclass(frozen=True)
class TypeDescription:
    """One software type; ``parameters`` and ``published`` are the names of schema files beside this one."""

    title: str
    description: str
    profile: str  # the rendered instance profile, relative to the built release's folder
    parameters: str
    published: str
    shared: bool = False


@dataclass(frozen=True)
class ReleaseDescription:
    """A release's name, licences and software types."""

    format: int
    name: str
    types: Mapping[str, TypeDescription]
    licences: tuple[str, ...] = ()  # SPDX identifiers

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise ValueError(f"format {self.format} is not known; this version reads format {FORMAT}")


def describe(profile: Path) -> ReleaseDescription:
    """Read ``software.cfg.json`` beside a ``software.cfg``; a component, which is no release, has its name only."""
    path = profile.with_name(f"{profile.name}.json")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        if profile.name == "buildout.cfg":
            return ReleaseDescription(FORMAT, profile.parent.name, {})
        raise AllotmentError(f"{path} does not exist", "Describe the release's name and software types in it") from None
    description = loads(ReleaseDescription, data, str(path))
    if not description.types:
        raise AllotmentError(f"{path}: types is empty", "Name at least 'default'")
    return description


def software_types(profile: Path, description: ReleaseDescription) -> dict[str, SoftwareType]:
    """Return the software types with their schemas read in."""
    return {
        name: SoftwareType(
            title=item.title,
            description=item.description,
            profile=item.profile,
            parameters=_schema(profile.with_name(item.parameters)),
            published=_schema(profile.with_name(item.published)),
            shared=item.shared,
        )
        for name, item in description.types.items()
    }


def _schema(path: Path) -> dict[str, Any]:
    try:
        schema = json.loads(path.read_bytes())
    except OSError as error:
        raise AllotmentError(f"{path} can't be read: {error.strerror}", "Correct software.cfg.json") from error
    except ValueError as error:
        raise AllotmentError(f"{path} is not JSON: {error}", "Correct the schema") from error
    if not isinstance(schema, dict):
        raise AllotmentError(f"{path} is not a JSON schema", "Write a JSON object")
    if is_checked():
        from allotment.parameters import check_schema

        check_schema(schema, str(path))
    _check_secrets(schema, path)
    return schema


def _check_secrets(schema: Any, path: Path) -> None:
    """Refuse a secret that is not text: only text is kept out of logs and pages."""
    if isinstance(schema, list):
        for item in schema:
            _check_secrets(item, path)
    if not isinstance(schema, dict):
        return
    kinds = schema.get("type")
    shown = {"integer", "number", "boolean"}.intersection([kinds] if isinstance(kinds, str) else kinds or ())
    if schema.get("writeOnly") is True and shown:
        raise AllotmentError(f"{path}: writeOnly: a secret is a string, not {sorted(shown)[0]}", "Make its type string")
    for item in schema.values():
        _check_secrets(item, path)
