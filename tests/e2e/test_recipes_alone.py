# SPDX-License-Identifier: Apache-2.0
"""The recipes in an environment that has nothing else, as the users of a plain buildout have them."""

import importlib.metadata
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
OURS = {"allotment": "core", "allotment-recipes": "recipes"}
BUDGET = 10  # third-party distributions
IMPORT = 0.060  # seconds that importing allotment_recipes adds to a Python that does nothing
PROFILE = """\
[buildout]
parts = run

[text]
recipe = allotment.recipes:template.jinja2
inline = Hello {{ name }}
output = ${buildout:directory}/etc/text
context = raw name World

[run]
recipe = allotment.recipes:wrapper
command-line = cat ${text:output}
wrapper-path = ${buildout:directory}/bin/run
"""


def needed(name: str) -> set[str]:
    """Return the distributions that ``name`` brings along, itself too, without extras."""
    found: set[str] = set()
    todo = [name]
    while todo:
        current = canonicalize_name(todo.pop())
        if current not in found:
            found.add(current)
            requirements = map(Requirement, importlib.metadata.requires(current) or ())
            todo += [item.name for item in requirements if item.marker is None or item.marker.evaluate({"extra": ""})]
    return found


def link_installed(name: str, packages: Path) -> None:
    """Put a distribution that is installed here into another environment; copies would take seconds."""
    distribution = importlib.metadata.distribution(name)
    tops = {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}
    for top in tops:
        (packages / top).symlink_to(Path(str(distribution.locate_file(top))))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The Python of an environment with the recipes and what they need; our two are installed by pip, from source."""
    folder = tmp_path_factory.mktemp("alone")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "environment"], check=True, timeout=60)
    (packages,) = (folder / "environment").glob("lib/*/site-packages")
    for name in needed("allotment.recipes") - OURS.keys():
        link_installed(name, packages)
    for source in OURS.values():
        ignored = shutil.ignore_patterns("*.egg-info", "__pycache__", "build")
        shutil.copytree(ROOT / source, folder / source, ignore=ignored)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    command += ["--disable-pip-version-check", "--target", str(packages)]
    subprocess.run([*command, *(str(folder / source) for source in OURS.values())], check=True, timeout=100)
    yield folder / "environment/bin/python"
    shutil.rmtree(folder)


def test_the_recipes_bring_at_most_ten_distributions(alone: Path) -> None:
    code = "import importlib.metadata as m; print(*sorted({d.metadata['Name'].lower() for d in m.distributions()}))"
    found = subprocess.run([alone, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout.split()
    others = [name for name in found if canonicalize_name(name) not in OURS]
    assert 0 < len(others) <= BUDGET, others
    assert "pytest" not in others


def test_a_plain_buildout_uses_wrapper_and_template(alone: Path, tmp_path: Path) -> None:
    (tmp_path / "buildout.cfg").write_text(PROFILE)
    code = "import sys; from zc.buildout.buildout import main; sys.exit(main(['-N', '-o']))"
    for _ in range(2):
        done = subprocess.run([alone, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
    said = subprocess.run([tmp_path / "bin/run"], capture_output=True, text=True, check=True, timeout=60).stdout
    assert said == "Hello World"
    (tmp_path / "buildout.cfg").write_text("[buildout]\nparts =\n")
    subprocess.run([alone, "-c", code], cwd=tmp_path, capture_output=True, check=True, timeout=60)
    assert not (tmp_path / "bin/run").exists()
    assert not (tmp_path / "etc/text").exists()


def test_importing_the_recipes_takes_no_time(alone: Path) -> None:
    def fastest(code: str) -> float:
        times = []
        for _ in range(7):
            start = time.perf_counter()
            subprocess.run([alone, "-c", code], check=True, timeout=60)
            times.append(time.perf_counter() - start)
        return min(times)

    assert fastest("import allotment_recipes") - fastest("pass") <= IMPORT


def test_every_command_of_the_recipes_can_be_asked_for_help(alone: Path) -> None:
    for words in (["--help"], ["new", "recipe", "--help"], ["build", "--help"], ["plugins"]):
        done = subprocess.run([alone, "-m", "allotment", *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_recipe_can_be_begun_there(alone: Path, tmp_path: Path) -> None:
    command = [alone, "-m", "allotment", "new", "recipe", "greeting"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "allotment-greeting/src/allotment_greeting/greeting.py").is_file()
