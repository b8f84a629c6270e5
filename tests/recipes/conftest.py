# SPDX-License-Identifier: Apache-2.0
"""Fixtures: one warm engine a worker, small releases and partitions to run, recipes without a buildout."""

import json
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from allotment.codec import dumps, loads
from allotment.messages.instance import ChildAnswer, InstanceInput, InstancePublished, InstanceRequests, InstanceState
from allotment_recipes.engine import BuildEngine, BuildRequest, BuildResult, InstanceResult, InstanceRun


@pytest.fixture(scope="session")
def engine() -> Iterator[BuildEngine]:
    """The real engine with its zygote, shared: each run is a process of its own anyway."""
    with BuildEngine(idle=120.0) as started:
        yield started


@dataclass
class Partition:
    """A partition and the release folder whose ``instance.cfg`` is run in it."""

    folder: Path
    software: Path
    engine: BuildEngine
    state: InstanceState = InstanceState.STARTED
    parameters: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, ChildAnswer] = field(default_factory=dict)

    def run(self, profile: str | None = None, timeout: float = 60.0) -> InstanceResult:
        """Write the input (and the profile), process the partition, return the result."""
        if profile is not None:
            (self.software / "instance.cfg").write_text(textwrap.dedent(profile))
        state = self.folder / ".allotment"
        state.mkdir(parents=True, exist_ok=True)
        given = InstanceInput(
            instance="inst-1",
            name="shop",
            tree="shop",
            node="node-1",
            partition=self.folder.name,
            state=self.state,
            software_type="default",
            manifest="f" * 64,
            addresses=("127.0.0.9",),
            parameters=self.parameters,
            answers=self.answers,
        )
        (state / "instance.json").write_bytes(dumps(given))
        return self.engine.instance(InstanceRun(self.software, self.folder, timeout=timeout), self.log)

    @property
    def log(self) -> Path:
        return self.folder / ".allotment" / "run.log"

    @property
    def requests(self) -> InstanceRequests:
        return loads(InstanceRequests, (self.folder / ".allotment" / "requests.json").read_bytes())

    @property
    def published(self) -> InstancePublished:
        return loads(InstancePublished, (self.folder / ".allotment" / "published.json").read_bytes())

    def text(self, name: str) -> str:
        return (self.folder / name).read_text()

    def files(self) -> dict[str, bytes]:
        """Every file of the partition outside ``.allotment``, by relative path."""
        found = {path.relative_to(self.folder).as_posix(): path for path in self.folder.rglob("*") if path.is_file()}
        return {name: path.read_bytes() for name, path in found.items() if not name.startswith(".allotment/")}


@pytest.fixture
def partition(tmp_path: Path, engine: BuildEngine) -> Partition:
    (tmp_path / "software").mkdir()
    (tmp_path / "part0").mkdir()
    return Partition(tmp_path / "part0", tmp_path / "software", engine)


@dataclass
class Release:
    """A release in the making: profiles in ``root``, built into ``folder``."""

    root: Path
    folder: Path
    sources: Path
    engine: BuildEngine

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def build(self, profile: str | None = None, timeout: float = 60.0) -> BuildResult:
        """Run the driver over ``software.cfg`` as it stands, without making a closure."""
        if profile is not None:
            self.write("software.cfg", profile)
        request = BuildRequest(self.root, "software.cfg", self.folder, self.sources, timeout)
        return self.engine.build(request, self.log)

    @property
    def log(self) -> Path:
        return self.folder / "build.log"


@pytest.fixture
def release(tmp_path: Path, engine: BuildEngine) -> Release:
    (tmp_path / "root").mkdir()
    return Release(tmp_path / "root", tmp_path / "built", tmp_path / "sources", engine)


@pytest.fixture
def make_recipe(tmp_path: Path) -> Callable[..., Any]:
    """Make a recipe as a third party's test would: a plain mapping in place of a buildout."""

    def make(recipe: type, options: Mapping[str, str], instance: InstanceInput | None = None, **sections: Any) -> Any:
        if instance is not None:
            (tmp_path / ".allotment").mkdir(exist_ok=True)
            (tmp_path / ".allotment" / "instance.json").write_bytes(dumps(instance))
        buildout = {"buildout": {"directory": str(tmp_path)}, **sections}
        return recipe(buildout, "part", dict(options))

    return make


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder that has little in common with tmp_path: for the same thing in two places."""
    with tempfile.TemporaryDirectory(prefix="a-") as folder:
        yield Path(folder).resolve()


TINY = {
    "software/tiny/software.cfg": """\
        [buildout]
        extends = ../stack/base.cfg
        parts = profile

        [profile]
        <= template
        url = ${:_profile_base_location_}/instance.cfg.in
        output = ${buildout:directory}/instance.cfg
        context =
          raw greeting ${greeting:text}
          raw library ${greeting:file}
        """,
    "software/stack/base.cfg": """\
        [template]
        recipe = allotment.recipes:template.jinja2

        [greeting]
        text = hello
        file = ${:_profile_base_location_}/greeting.txt
        """,
    "software/stack/greeting.txt": "named by an option\n",
    "software/stack/unused.txt": "no profile names it\n",
    "software/tiny/instance.cfg.in": "[buildout]\nparts =\n# {{ greeting }} {{ library }}\n",
    "software/tiny/test/test_tiny.py": "def test_nothing() -> None: ...\n",
    "software/tiny/in.json": json.dumps({"type": "object"}),
    "software/tiny/out.json": json.dumps({"type": "object"}),
    "software/tiny/software.cfg.json": json.dumps(
        {
            "format": 1,
            "name": "tiny",
            "licences": ["Apache-2.0"],
            "types": {
                "default": {
                    "title": "Tiny",
                    "description": "As small as it gets",
                    "profile": "instance.cfg",
                    "parameters": "in.json",
                    "published": "out.json",
                }
            },
        }
    ),
}


@pytest.fixture
def write_tiny() -> Callable[[Path], Path]:
    """Write the smallest whole release below a folder; returns its software.cfg."""

    def write(root: Path) -> Path:
        for name, text in TINY.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return root / "software/tiny/software.cfg"

    return write
