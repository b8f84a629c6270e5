# SPDX-License-Identifier: Apache-2.0
"""What a reader of a tutorial has: an empty folder, and an environment with commands on the PATH."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

COMMANDS = {
    "allot": "allotment.cli:main",
    "buildout": "zc.buildout.buildout:main",
    "pip": "pip._internal.cli.main:main",
    "pytest": "pytest:main",
}
# So that pip takes what is here: the index is a matter of the machine, not of the page.
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
# The settings of this run of pytest are not the reader's, and the plugins beside it would be loaded for a second.
OWN = {"PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


@dataclass(frozen=True)
class Reader:
    """Does what a page says, in ``folder``."""

    folder: Path
    environment: Path

    def do(self, command: str) -> str:
        """Run one line in a shell and return what it says."""
        path = f"{self.environment}/bin:{os.environ['PATH']}"
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.folder,
            env={**os.environ, **OFFLINE, "PATH": path, "PYTHONWARNINGS": "ignore", **OWN},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=110,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout


@pytest.fixture
def reader() -> Iterator[Reader]:
    """An environment of its own that sees this one's distributions; the folder's path is short: sockets are in it."""
    with tempfile.TemporaryDirectory(prefix="t-") as name:
        folder = Path(name).resolve()
        environment = folder / "environment"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True, timeout=60)
        (packages,) = environment.glob("lib/*/site-packages")
        here = [place for place in sys.path if place]
        (packages / "all.pth").write_text("".join(f"import site; site.addsitedir({place!r})\n" for place in here))
        for command, target in COMMANDS.items():
            module, function = target.split(":")
            text = f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n"
            (environment / "bin" / command).write_text(f"#!{environment}/bin/python\n{text}")
            (environment / "bin" / command).chmod(0o755)
        (folder / "work").mkdir()
        yield Reader(folder / "work", environment)
