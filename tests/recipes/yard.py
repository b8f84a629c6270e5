# SPDX-License-Identifier: Apache-2.0
"""A yard for builds with the real compiler: small C libraries and programs whose sources are written in a test."""

import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allotment_recipes.engine import BuildRequest, BuildResult
from allotment_recipes.store import padded_root

CONFIGURE = """\
#!/bin/sh
prefix=/usr/local
for word in "$@"; do case "$word" in --prefix=*) prefix="${word#--prefix=}";; esac; done
echo "configured with: $*"
sed "s|@prefix@|$prefix|g" Makefile.in > Makefile
"""
LIBRARY = {
    "configure": CONFIGURE,
    "answer.h": "int answer(void);\n",
    "answer.c": '#include "answer.h"\nint answer(void) { return 42; }\n',
    "Makefile.in": """\
all: libanswer.so.1
libanswer.so.1: answer.c
\t$(CC) $(CFLAGS) -shared -fPIC -Wl,-soname,libanswer.so.1 -o $@ answer.c
install: all
\tmkdir -p @prefix@/lib @prefix@/include
\tcp libanswer.so.1 @prefix@/lib/
\tln -sf libanswer.so.1 @prefix@/lib/libanswer.so
\tcp answer.h @prefix@/include/
""",
}
PROGRAM = {
    "configure": CONFIGURE,
    "ask.c": '#include <answer.h>\n#include <stdio.h>\nint main(void) { printf("%d\\n", answer()); return 0; }\n',
    "Makefile.in": """\
ask: ask.c
\t$(CC) $(CFLAGS) -o $@ ask.c -lanswer
install: ask
\tmkdir -p @prefix@/bin
\tcp ask @prefix@/bin/
""",
}


def pinned(path: Path, folder: str, files: Mapping[str, str]) -> str:
    """Write a source archive; return the lines of a section that pin it."""
    with tarfile.open(path, "w") as archive:
        for member, text in files.items():
            info = tarfile.TarInfo(f"{folder}/{member}")
            info.size = len(text.encode())
            info.mode = 0o755 if text.startswith("#!") else 0o644
            archive.addfile(info, io.BytesIO(text.encode()))
    return f"url = {path}\nsha256sum = {hashlib.sha256(path.read_bytes()).hexdigest()}"


@dataclass(frozen=True)
class Yard:
    """Releases that are built from archives made here, into one store."""

    release: Any
    place: Path

    def archive(self, name: str, files: Mapping[str, str]) -> str:
        """Write a source archive; return the lines of a section that pin it."""
        return pinned(self.place / f"{name}.tar", f"{name}-1.0", files)

    def write(self, sections: Mapping[str, str]) -> None:
        """Write software.cfg with a part for each section; lines that begin a section are added."""
        text = f"[buildout]\nparts = {' '.join(sections)}\n"
        for name, lines in sections.items():
            text += f"[{name}]\nrecipe = allotment.recipes:cmmi\nversion = 1.0\n{lines}\n"
        self.release.write("software.cfg", text)

    def build(self, sections: Mapping[str, str], folder: str = "built") -> BuildResult:
        """Build a release of these parts into ``folder``."""
        self.write(sections)
        return self.again(folder)

    def again(self, folder: str = "built") -> BuildResult:
        return self.release.engine.build(self.request(folder), self.place / folder / "build.log")

    def request(self, folder: str = "built") -> BuildRequest:
        root, sources = self.release.root, self.release.sources
        return BuildRequest(root, "software.cfg", self.place / folder, sources, 60.0, store=self.place / "s")

    @property
    def store(self) -> Path:
        return padded_root(self.place / "s")

    def part(self, name: str) -> Path:
        (path,) = self.store.glob(f"{name}-*")
        return path

    def log(self, name: str) -> str:
        """Return the log of a part that was built, or that failed."""
        (path,) = self.store.glob(f".log/{name}-*")
        return path.read_text()
