# SPDX-License-Identifier: Apache-2.0
"""Programs of pinned Python distributions: scripts that see these and nothing else of what is installed."""

import importlib.metadata
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from allotment.blobs import BlobStore
from allotment.errors import AllotmentError
from allotment_recipes import wheels

ENTRY: Final = re.compile(r"([A-Za-z0-9][-A-Za-z0-9._]*)=([A-Za-z_][\w.]*):([A-Za-z_][\w.]*)")
_SCRIPT = """\
{start}sys.argv[0] = {shown}
{initialization}from {module} import {first}

sys.exit({attribute}({arguments}))
"""
_FILE = """\
import runpy
{start}sys.argv[0] = {shown}
{initialization}runpy.run_path({path}, run_name="__main__")
"""
_INTERPRETER = """\
import runpy
{start}{initialization}arguments = sys.argv[1:]
if arguments[:1] == ["-c"] and len(arguments) > 1:
    sys.argv = ["-c", *arguments[2:]]
    exec(compile(arguments[1], "<string>", "exec"), {{"__name__": "__main__"}})
elif arguments[:1] == ["-m"] and len(arguments) > 1:
    sys.argv = arguments[1:]
    runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
elif arguments and not arguments[0].startswith("-"):
    sys.argv = arguments
    runpy.run_path(arguments[0], run_name="__main__")
else:
    sys.exit("usage: {name} FILE | -m MODULE | -c CODE [ARGUMENT ...]")
"""


@dataclass(frozen=True)
class Programs:
    """The programs of one part: launchers in its ``bin``, what they run in its ``scripts``."""

    folder: Path  # where they are written
    location: Path  # what that folder will be called
    paths: Sequence[str]  # what comes first in sys.path
    sites: Sequence[str] = ()  # folders whose .pth files are read as well: develop eggs
    initialization: str = ""  # Python code that runs before anything is imported
    arguments: str = ""  # of each entry point's call, in Python
    is_relative: bool = False  # find their own folder by where they are: it may be moved
    is_full_name: bool = False  # their sys.argv[0] is a path

    def add_entry_point(self, name: str, module: str, attribute: str) -> None:
        """Make a program that calls a function."""
        if "/" in name:
            raise AllotmentError(f"{name!r} is not a script's name", "Don't use this distribution")
        first = attribute.partition(".")[0]
        fields = {"module": module, "first": first, "attribute": attribute, "arguments": self.arguments}
        self._write(name, _SCRIPT.format(**self._start(name), **fields))

    def add_file(self, name: str, path: Path) -> None:
        """Make a program that runs a Python file of a wheel, or take a program that is not in Python as it is."""
        data = path.read_bytes()
        # How pip begins those in Python; the second way is for an interpreter with a long path.
        if not data.startswith((b"#!" + sys.executable.encode(), b"#!/bin/sh\n'''exec' ")):
            path.chmod(0o755)
            path.rename(self.folder / "bin" / name)
            return
        kept = self.folder / "scripts" / name
        path.rename(kept)
        shown = self._shown(self.location / "scripts" / name)
        self._write(name, _FILE.format(**self._start(name), path=shown))

    def add_interpreter(self, name: str) -> None:
        """Make an interpreter."""
        self._write(name, _INTERPRETER.format(**self._start(name), name=name))

    def _start(self, name: str) -> dict[str, str]:
        shown = ", ".join(map(self._shown, map(Path, self.paths)))
        lines = ["import sys", ""]
        if self.is_relative:
            lines = ["import os", *lines, "here = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))"]
        lines += [f"sys.path[:0] = [{shown}]"]
        if self.sites:
            lines += ["import site", "", *(f"site.addsitedir({path!r})" for path in self.sites)]
        program = self._shown(self.location / "bin" / name) if self.is_full_name else repr(name)
        code = f"{self.initialization.strip()}\n" if self.initialization.strip() else ""
        return {"start": "\n".join(lines) + "\n", "shown": program, "initialization": code}

    def _shown(self, path: Path) -> str:
        """Return a path as Python code."""
        if self.is_relative and path.is_relative_to(self.location):
            return f"os.path.join(here, {path.relative_to(self.location).as_posix()!r})"
        return repr(str(path))

    def _write(self, name: str, text: str) -> None:
        (self.folder / "scripts" / f"{name}.py").write_text(text)
        script = shlex.quote(str(self.location / "scripts" / f"{name}.py"))
        if self.is_relative:
            script = f'"$(dirname -- "$(readlink -f -- "$0")")"/../scripts/{shlex.quote(name)}.py'
        # -I and -S: neither the caller's environment nor what is installed beside Python changes what is imported.
        path = self.folder / "bin" / name
        path.write_text(f'#!/bin/sh\nexec {shlex.quote(base_python())} -IS {script} "$@"\n')
        path.chmod(0o755)


def install(pins: Sequence[wheels.Pin], blobs: BlobStore, folder: Path) -> dict[str, Path]:
    """Install wheels into ``folder/lib``, make ``bin`` and ``scripts``; return the program files that wheels bring."""
    for name in ("lib", "bin", "scripts"):
        (folder / name).mkdir()
    return wheels.install(pins, blobs, folder / "lib", folder / "scripts")


def entry_points(libraries: Sequence[Path]) -> dict[str, tuple[str, str]]:
    """Map each console script of the distributions in some folders to its module and function."""
    return {
        point.name: (point.module, point.attr)
        for distribution in importlib.metadata.distributions(path=[str(library) for library in libraries])
        for point in distribution.entry_points
        if point.group == "console_scripts"
    }


def install_tools(pins: Sequence[wheels.Pin], blobs: BlobStore, folder: Path) -> None:
    """Install distributions for their programs, all of them, which are then in ``folder/bin``."""
    folder.mkdir()
    files = install(pins, blobs, folder)
    wheels.check_requirements([folder / "lib"])
    programs = Programs(folder, folder, [str(folder / "lib")], is_full_name=True)
    for name, (module, attribute) in entry_points([folder / "lib"]).items():
        programs.add_entry_point(name, module, attribute)
    for name, path in files.items():
        programs.add_file(name, path)


def pins_of(names: Sequence[str], buildout: Mapping[str, Mapping[str, str]]) -> tuple[wheels.Pin, ...]:
    """Return the pins of distributions from ``[versions]`` and ``[hashes]``."""
    sections = tuple(buildout)  # a section that is not there is an error when it is asked for
    versions, hashes = ({**buildout[name]} if name in sections else {} for name in ("versions", "hashes"))
    return tuple(wheels.pin(name, versions, hashes) for name in names)


def base_python() -> str:
    """Return the interpreter that runs us, not the virtual environment around it: that one may go away."""
    return str(getattr(sys, "_base_executable", "") or sys.executable)
