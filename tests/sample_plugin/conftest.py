# SPDX-License-Identifier: Apache-2.0
"""Fixtures: the sample distribution built and installed as pip does it, and a broken one beside it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent
Allot = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the sample distribution is installed in."""
    folder = tmp_path_factory.mktemp("sample")
    source = folder / "source"
    source.mkdir()
    shutil.copytree(SOURCE / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    shutil.copy(SOURCE / "pyproject.toml", source)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", str(folder / "target"), str(source)],
        check=True,
        timeout=100,
    )
    return folder / "target"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """The folder of a distribution whose plugin module can't be imported."""
    info = tmp_path / "broken_plugin-0.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text("[allotment]\nbroken = broken_plugin\n")
    (tmp_path / "broken_plugin.py").write_text("import a_module_that_is_not_there\n")
    return tmp_path


@pytest.fixture
def allot() -> Allot:
    """Run ``allot`` with folders of plugins in front."""

    def run(*arguments: str, plugins: tuple[Path, ...]) -> "subprocess.CompletedProcess[str]":
        paths = [*map(str, plugins), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        command = [sys.executable, "-m", "allotment", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    return run
