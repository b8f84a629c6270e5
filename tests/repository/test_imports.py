# SPDX-License-Identifier: Apache-2.0
"""What the distributions import: only what they declare, from a plain path, and little at start-up."""

import ast
import importlib.metadata
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FOLDERS = ("core", "recipes", "promises", "node", "master", "testfarm")
HEAVY = {
    "zc",
    "jinja2",
    "jsonschema",
    "cryptography",
    "httpx2",
    "fastapi",
    "sqlalchemy",
    "twisted",
    "pytest",
    "supervisor",
}

STANDARD = sys.stdlib_module_names | {"compression"}  # which is Python's own since 3.14

# parts of one interface: who needs the first imports the others as its documentation says
TOGETHER = {
    "fastapi": {"starlette", "pydantic", "anyio"},
    "jinja2": {"markupsafe"},
    "jsonschema": {"jsonschema-specifications", "referencing"},
    "pygls": {"lsprotocol"},
    "twisted": {"zope-interface"},
}


def imported(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the top-level name of each absolute import of a distribution, with its file."""
    for path in sorted((folder / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((alias.name.partition(".")[0], path) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                yield node.module.partition(".")[0], path


def declared_by(folder: str, metadata: dict[str, dict[str, Any]]) -> set[str]:
    """Return what a distribution may import: what it states, what ours that it needs state, what comes with those."""
    by_name = {canonicalize_name(data["project"]["name"]): name for name, data in metadata.items()}
    project = metadata[folder]["project"]
    extras = project.get("optional-dependencies", {})
    texts = [*project["dependencies"], *(item for items in extras.values() for item in items)]
    found = {canonicalize_name(project["name"])}
    for name in (canonicalize_name(Requirement(text).name) for text in texts):
        found |= {name} | TOGETHER.get(name, set())
        if name in by_name:
            found |= declared_by(by_name[name], metadata)
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_distribution_declares_what_it_imports(folder: str, root: Path, metadata: dict[str, dict[str, Any]]) -> None:
    declared = declared_by(folder, metadata)
    providers = importlib.metadata.packages_distributions()
    undeclared = {
        f"{name} in {path.relative_to(root)}"
        for name, path in imported(root / folder)
        if name not in STANDARD
        and not declared & {canonicalize_name(item) for item in providers.get(name, [name.replace("_", "-")])}
    }
    assert sorted(undeclared) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_module_imports_from_a_plain_path(folder: str, root: Path) -> None:
    """Without the editable installs: site-packages is added as a folder, so that its .pth files are not read."""
    skip = {"__main__", "env"}  # a program's start, and Alembic's entry: both act when they are imported
    names = [
        ".".join(path.relative_to(root / folder / "src").with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((root / folder / "src").rglob("*.py"))
        if path.stem not in skip
    ]
    paths = [str(root / name / "src") for name in FOLDERS] + [
        sysconfig.get_path("purelib"),
        sysconfig.get_path("platlib"),
    ]
    code = f"import sys, importlib; sys.path[:0] = {paths!r}\nfor name in {names!r}: importlib.import_module(name)"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from allotment.cli import main; main(['--help']); sys.stderr.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert "Commands" in done.stdout
    loaded = set(done.stderr.split())
    assert {name.partition(".")[0] for name in loaded} & HEAVY == set()
    assert {"allotment.messages", "allotment_recipes.base"} & loaded == set(), "tens of milliseconds of dataclasses"


def test_importing_the_recipes_does_not_import_buildout() -> None:
    code = "import sys, allotment_recipes; sys.exit('zc.buildout' in sys.modules or 'jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0
