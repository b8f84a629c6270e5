# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of conventions: the checkout, its distributions, and scripts that are not in a package."""

import importlib.util
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def files() -> list[Path]:
    """Every file that git tracks or would."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


@pytest.fixture(scope="session")
def script() -> Callable[[str], ModuleType]:
    """Import a Python file of the checkout by its path."""

    def load(path: str) -> ModuleType:
        name = f"script_{Path(path).stem}"
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, ROOT / path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            spec.loader.exec_module(module)
        return sys.modules[name]

    return load


@pytest.fixture(scope="session")
def metadata() -> dict[str, dict[str, Any]]:
    """Each distribution's pyproject.toml, by its folder."""
    folders = ("core", "recipes", "promises", "node", "master", "testfarm")
    return {folder: tomllib.loads((ROOT / folder / "pyproject.toml").read_text()) for folder in folders}
