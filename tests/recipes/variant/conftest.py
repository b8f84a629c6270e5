# SPDX-License-Identifier: Apache-2.0
"""A folder in which upstream's own command runs, with our extension or without."""

import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

SAID = "allotment.recipes: parts are built one after the other; 'allot build' does so in parallel, with a store\n"
_OFFLINE = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}  # pip reads 0 here as "none"
COMMAND = Path(sys.executable).with_name("buildout")
SHOW = """\
[show]
recipe = allotment.recipes:template.jinja2
output = ${buildout:directory}/shown
"""
TOOL = {  # a source that writes $TEXT, and how many devices lead to a network
    "configure": "#!/bin/sh\nfor word; do case $word in --prefix=*) echo P=${word#--prefix=} > mine;; esac; done\n",
    "Makefile": "include mine\nall:\n\techo $(TEXT) > out\n\ttail -n +3 /proc/net/dev | grep -vc lo: > network; true\n"
    "install:\n\tmkdir -p $(P)\n\tcp out network $(P)/\n",
}


@dataclass(frozen=True)
class Yard:
    """A folder with a ``buildout.cfg``, for upstream's command in a process of its own."""

    folder: Path

    def write(self, name: str, text: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)

    def profile(self, text: str, *, extends: str = "", buildout: str = "", extended: bool = True) -> None:
        """Write the profile: the parts are all sections of ``text`` that have a recipe, in their order."""
        parts = re.findall(r"^\[([^\]]+)\]\nrecipe", text, re.MULTILINE)
        lines = ["[buildout]", f"parts = {' '.join(parts)}", buildout]
        lines += ["extensions = allotment.recipes"] if extended else []
        lines += [f"extends = {extends}"] if extends else []
        self.write("buildout.cfg", "\n".join([*filter(None, lines), text]))

    def run(self, *words: str, cwd: str = "") -> tuple[int, str]:
        done = subprocess.run(
            [COMMAND, "-N", *words],
            cwd=self.folder / cwd,
            env={**os.environ, **_OFFLINE, "PYTHONWARNINGS": "ignore", "HOME": str(self.folder)},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=120, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    def works(self, *words: str) -> str:
        """Run it, offline; return what it said."""
        code, said = self.run("-o", *words)
        assert code == 0, said
        return said

    def fails(self, *words: str) -> str:
        """Run it, offline; return its error, which is no bug of ours."""
        code, said = self.run("-o", *words)
        assert code == 1, said
        assert "Traceback" not in said
        return said.rpartition("Error: ")[2]

    def text(self, name: str) -> str:
        return (self.folder / name).read_text()

    def made(self, name: str) -> list[Path]:
        """Return the folders of a part, or of all parts, in the release's own store and in ``parts-directory``."""
        found = [*self.folder.glob(f"store/{name}*"), *self.folder.glob(f"parts/{name}*")]
        return [path for path in found if path.is_dir() and not path.name.startswith(".")]

    def archive(self, name: str, files: Mapping[str, str]) -> str:
        """Write a source archive; return the lines of a section that pin it."""
        path = self.folder / f"{name}.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for member, text in files.items():
                info = tarfile.TarInfo(f"{name}-1.0/{member}")
                info.size, info.mode = len(text.encode()), 0o755
                archive.addfile(info, io.BytesIO(text.encode()))
        return f"url = {path}\nsha256sum = {hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    (tmp_path / "yard").mkdir()
    return Yard(tmp_path / "yard")
