# SPDX-License-Identifier: Apache-2.0
"""The committed JSON schemas of the messages; ``python -m allotment.schemas`` writes them anew after a change."""

import importlib
import json
import pkgutil
from collections.abc import Mapping
from pathlib import Path

from allotment import messages as package
from allotment.codec import SCHEMAS, messages, schema


def generate() -> Mapping[str, str]:
    """Return the text of every core message's schema by file name; a plugin's own messages are not among them."""
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return {
        f"{name}.json": json.dumps(schema(cls), indent=2) + "\n"
        for name, cls in sorted(messages().items())
        if cls.__module__.startswith(f"{package.__name__}.")
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
