# SPDX-License-Identifier: Apache-2.0
"""The fixtures of the kit: ``pytest_plugins = ["allotment_recipes.testing.fixtures"]`` brings them."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from allotment.codec import dumps
from allotment.messages.instance import InstanceInput
from allotment_recipes.engine import BuildEngine
from allotment_recipes.testing.fake_sources import FakeSources
from allotment_recipes.testing.local_engine import LocalEngine
from allotment_recipes.testing.partition import Partition
from allotment_recipes.testing.release import Release
from allotment_recipes.testing.upstream import Upstream


@pytest.fixture
def make_recipe(tmp_path: Path) -> Callable[..., Any]:
    """Make a recipe of options, without a profile: ``make_recipe(Recipe, {"output": "etc/conf"}, other={...})``.

    Relative paths are below ``tmp_path``; files are written at once. ``instance`` is the input of an instance, see
    ``given_instance``; each further keyword is another section that the recipe may look at.
    """

    def make(recipe: type, options: Mapping[str, str], instance: InstanceInput | None = None, **sections: Any) -> Any:
        if instance is not None:
            (tmp_path / ".allotment").mkdir(exist_ok=True)
            (tmp_path / ".allotment" / "instance.json").write_bytes(dumps(instance))
        buildout = {"buildout": {"directory": str(tmp_path)}, **sections}
        return recipe(buildout, "part", dict(options))

    return make


@pytest.fixture(scope="session")
def engine() -> Iterator[BuildEngine]:
    """What runs the profiles; a project that wants the processes of production returns a ``BuildEngine`` instead."""
    with LocalEngine() as local:
        yield local


@pytest.fixture
def partition(tmp_path: Path, engine: BuildEngine) -> Partition:
    """A partition to run an instance profile in."""
    (tmp_path / "software").mkdir()
    (tmp_path / "part0").mkdir()
    return Partition(tmp_path / "part0", tmp_path / "software", engine)


@pytest.fixture
def sources(tmp_path: Path) -> Iterator[FakeSources]:
    """The source cache of ``release``, and a server on this machine."""
    made = FakeSources(tmp_path / "sources")
    yield made
    made.close()


@pytest.fixture
def release(tmp_path: Path, sources: FakeSources, engine: BuildEngine) -> Release:
    """A release to build from a software profile."""
    (tmp_path / "root").mkdir()
    return Release(tmp_path / "root", tmp_path / "built", sources.folder, engine)


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    """A folder for a ``buildout.cfg`` that upstream's own command runs."""
    (tmp_path / "upstream").mkdir()
    return Upstream(tmp_path / "upstream")
