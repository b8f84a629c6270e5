# SPDX-License-Identifier: Apache-2.0
"""Fixtures: one warm engine a worker, small releases and partitions to run, recipes without a buildout."""

import contextlib
import json
import socket
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.recipes.yard import Yard

from allotment_recipes.engine import BuildEngine
from allotment_recipes.testing import Partition, Release
from allotment_recipes.testing.fixtures import make_recipe, partition, release, sources, upstream

__all__ = ["Partition", "Release", "make_recipe", "partition", "release", "sources", "upstream"]


@pytest.fixture(scope="session")
def engine() -> Iterator[BuildEngine]:
    """The real engine with its zygote, shared: each run is a process of its own anyway."""
    with BuildEngine(idle=120.0) as started:
        yield started


@pytest.fixture
def kill_runs() -> Callable[[], None]:
    """Kill what the engines of this process have at work, and let the engines be."""

    def kill() -> None:
        for own in psutil.Process().children():
            with contextlib.suppress(psutil.NoSuchProcess):  # it has ended meanwhile
                if "allotment_recipes.zygote" in own.cmdline():
                    for process in own.children(recursive=True):
                        with contextlib.suppress(psutil.NoSuchProcess):
                            process.kill()

    return kill


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder that has little in common with tmp_path: for the same thing in two places."""
    with tempfile.TemporaryDirectory(prefix="a-") as folder:
        yield Path(folder).resolve()


@pytest.fixture
def make_port() -> Iterator[Callable[[str], int]]:
    """Return ports of an address for servers of the test; nobody else is given them before it ends."""
    with contextlib.ExitStack() as held:

        def make(address: str) -> int:
            holder = held.enter_context(socket.socket())
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that does so too may listen
            holder.bind((address, 0))
            port: int = holder.getsockname()[1]
            return port

        yield make


@pytest.fixture
def yard(release: Release, short_path: Path) -> Yard:
    """A yard for builds of small C programs."""
    return Yard(release, short_path)


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
