# SPDX-License-Identifier: Apache-2.0
"""A node over a system store: what is whole there is used where it is."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.yard import write_quick

from allotment.options import Lines
from allotment_node.config import NodeConfig
from allotment_node.engines import RealEngines
from allotment_recipes.engine import BuildEngine
from allotment_recipes.manifest import build_release
from allotment_recipes.shared_store import remove
from allotment_recipes.store import padded_root


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="n-") as name:
        yield Path(name).resolve()
        for store in Path(name).glob("*store"):
            remove(store)


def test_a_release_whose_parts_are_in_a_system_store_builds_none(place: Path) -> None:
    (place / "tree").mkdir()
    profile, sources = write_quick(place / "tree") / "software.cfg", place / "sources"
    with BuildEngine() as engine:
        built = build_release(
            profile, place / "tree", place / "first", sources, engine, place / "log", store=place / "system-store"
        )
    config = NodeConfig("n", Lines(("http://127.0.0.1:1",)), system_stores=Lines((str(place / "system-store"),)))
    engines = RealEngines(config, place / "store", place)
    try:
        result = engines.install(built.manifest, built.closure, place / "second", sources, place / "log2", True)
    finally:
        engines.close()
    assert result.ok, result.error
    assert list(padded_root(place / "store").glob("[!.]*")) == []
    assert str(padded_root(place / "system-store")) in (place / "second/instance.cfg").read_text()
