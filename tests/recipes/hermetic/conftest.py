# SPDX-License-Identifier: Apache-2.0
"""Fixtures: a folder for sandboxes."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder with a short path that every user can reach and write to."""
    with tempfile.TemporaryDirectory(prefix="h-") as name:
        folder = Path(name).resolve()
        folder.chmod(0o777)
        yield folder
