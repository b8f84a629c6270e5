# SPDX-License-Identifier: Apache-2.0
"""Zstandard: Python's own since 3.14, before that a package of the same interface."""

import importlib
from typing import Any

from allotment.errors import AllotmentError


def zstd() -> Any:
    """Return the module."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    raise AllotmentError(
        "binary caches need Zstandard, which this Python has not", "Install allotment.recipes[build] where builds run"
    )
