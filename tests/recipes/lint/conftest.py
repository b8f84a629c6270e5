# SPDX-License-Identifier: Apache-2.0
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SOFTWARE = """\
[buildout]
parts = instance-profile

[instance-profile]
recipe = allotment.recipes:template.jinja2
url = ${:_profile_base_location_}/instance.cfg.in
output = ${buildout:directory}/instance.cfg
context = raw word hello
"""
INSTANCE = """\
[buildout]
parts = publish

[publish]
recipe = allotment.recipes:publish
url = {{ word }}
"""
DRAFT = "https://json-schema.org/draft/2020-12/schema"
PARAMETERS = {"port": {"description": "TCP port", "type": "integer", "default": 8080}}
PUBLISHED = {"url": {"description": "Address", "type": "string"}}


def write_release(folder: Path, **changes: Any) -> Path:
    """Write a release without problems into ``folder``, but for what ``changes`` puts in place of its files."""
    schema = {"$schema": DRAFT, "type": "object", "additionalProperties": False}
    kind = {"title": "Site", "description": "A site", "profile": "instance.cfg"}
    files: dict[str, Any] = {
        "software.cfg": SOFTWARE,
        "instance.cfg.in": INSTANCE,
        "input.json": {**schema, "properties": PARAMETERS},
        "output.json": {**schema, "properties": PUBLISHED, "required": ["url"]},
        "software.cfg.json": {
            "format": 1,
            "name": "site",
            "types": {"default": {**kind, "parameters": "input.json", "published": "output.json"}},
        },
    }
    names = {name.replace(".", "_"): name for name in files}
    for name, content in changes.items():
        files[names[name]] = content
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if content is not None:
            (folder / name).write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
    return folder / "software.cfg"


@pytest.fixture
def release() -> Callable[..., Path]:
    return write_release
