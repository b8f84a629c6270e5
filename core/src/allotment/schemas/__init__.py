# SPDX-License-Identifier: Apache-2.0
"""The committed JSON schemas of the messages; ``python -m allotment.schemas`` writes them anew after a change."""

import json
from collections.abc import Mapping
from pathlib import Path

from allotment.codec import SCHEMAS, messages, schema


def generate() -> Mapping[str, str]:
    """Return the text of every core message's schema by file name; a plugin's own messages are not among them."""
    return {
        f"{name}.json": json.dumps(schema(cls), indent=2) + "\n"
        for name, cls in sorted(messages().items())
        if cls.__module__.startswith("allotment.messages.")
    }


def write(folder: Path = SCHEMAS) -> list[str]:
    """Make the schema files in ``folder`` equal to :func:`generate`; return the names of those that changed."""
    wanted = generate()
    changed = [path.name for path in sorted(folder.glob("*.json")) if path.name not in wanted]
    for name in changed:
        (folder / name).unlink()
    for name, text in wanted.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            changed.append(name)
    return changed
