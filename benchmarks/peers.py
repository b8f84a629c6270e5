# SPDX-License-Identifier: Apache-2.0
"""The peers: zc.buildout and SlapOS's recipes, from their package index, in ``var/peers``; made at the first use.

zc.buildout is in a virtualenv of its own. It fetches the recipes itself, in a run that is not measured, as it does for
everybody: as eggs, which it need not hash at each run.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.measure import Sample, command

FOLDER: Final = Path(__file__).parents[1] / "var" / "peers"
BUILDOUT: Final = (
    "zc.buildout==6.0.1",
    "setuptools==84.2.1",
    "pip==26.3",
    "wheel==0.48.0",
    "packaging==26.3",
    "platformdirs==4.14.7",
)
RECIPES: Final = """\
[versions]
slapos.recipe.build = 0.66
slapos.recipe.cmmi = 0.23
slapos.recipe.template = 5.1
Jinja2 = 3.1.6
MarkupSafe = 3.0.4
six = 1.17.0
"""


def profile(folder: Path, parts: list[str], sections: str) -> Path:
    """Write a buildout.cfg of the pinned recipes and return it."""
    path = folder / "buildout.cfg"
    folder.mkdir(parents=True, exist_ok=True)
    names = "".join(f"  {part}\n" for part in parts)
    path.write_text(f"[buildout]\neggs-directory = {FOLDER / 'eggs'}\nparts =\n{names}\n{RECIPES}\n{sections}")
    return path


def buildout(path: Path) -> Callable[[], Sample]:
    """Return a function that runs zc.buildout over a profile, in place; the first run fetches the recipes."""
    return command([str(_program()), "-N", "-U", "-c", str(path)], _environment())


def _program() -> Path:
    name = hashlib.sha256("\n".join(BUILDOUT).encode()).hexdigest()[:12]
    folder = FOLDER / f"buildout-{name}"
    if not (folder / "complete").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *BUILDOUT]
        subprocess.run(install, check=True, env=_environment(), stdout=sys.stderr)
        (folder / "complete").touch()
    return folder / "bin" / "buildout"


def _environment() -> dict[str, str]:
    """Return ours without what would slow the peer down, or let it see our distributions."""
    return {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
