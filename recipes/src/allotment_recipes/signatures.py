# SPDX-License-Identifier: Apache-2.0
"""When is a recipe another recipe: by its own source, not by everything that is installed beside it."""

import functools
import hashlib
import inspect
from pathlib import Path


@functools.cache
def _source_hash(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def recipe_signature(recipe: type) -> str:
    """Return a text that changes when the recipe's module, or the modules of its bases, change."""
    hashes = []
    for cls in recipe.__mro__[:-1]:
        try:
            hashes.append(_source_hash(inspect.getfile(cls)))
        except (OSError, TypeError):
            continue  # a built-in base, or a module without a source file
    digest = hashlib.sha256("\n".join(dict.fromkeys(hashes)).encode()).hexdigest()[:32]
    return f"{recipe.__module__}-{getattr(recipe, 'build_version', 0)}-{digest}"
