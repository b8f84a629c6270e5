# SPDX-License-Identifier: Apache-2.0
"""The hash of an installed distribution is an input of what is built with it, and of each verdict."""

import importlib.metadata
import json
from pathlib import Path

import pytest

from allotment_recipes.distributions import distribution_hash, editable_files


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The folder of a distribution that is installed from there."""
    for name in ("pyproject.toml", "src/it/__init__.py", "src/it/build/page.html", "src/it/data.json"):
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("as it was")
    return tmp_path / "source"


def hash_of(source: Path) -> str:
    info = source.parent / "it-1.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: it\nVersion: 1\n")
    (info / "direct_url.json").write_text(json.dumps({"url": f"file://{source}", "dir_info": {"editable": True}}))
    return distribution_hash(importlib.metadata.PathDistribution(info))


@pytest.mark.parametrize("name", ["src/it/__init__.py", "src/it/build/page.html", "src/it/data.json", "src/it/new.txt"])
def test_each_file_of_an_editable_distribution_counts(source: Path, name: str) -> None:
    before = hash_of(source)
    (source / name).write_text("changed")
    assert hash_of(source) != before


@pytest.mark.parametrize(
    "name", ["src/it/__pycache__/it.pyc", "src/it.egg-info/PKG-INFO", "build/lib/it.py", ".git/HEAD", "src/.cache/x"]
)
def test_what_tools_have_made_there_does_not_count(source: Path, name: str) -> None:
    before = hash_of(source)
    (source / name).parent.mkdir(parents=True, exist_ok=True)
    (source / name).write_text("made")
    assert hash_of(source) == before
    assert source / name not in set(editable_files(source))
